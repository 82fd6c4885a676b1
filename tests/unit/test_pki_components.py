"""The components of jarvis/pki, with the generator itself in place of the engine's command."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from cryptography import x509

from jarvis.pki import (
    Authority,
    AuthorityArgs,
    Certificate,
    CertificateArgs,
    KeyPair,
    KeyPairArgs,
    Password,
    PasswordArgs,
    RandomKey,
    RandomKeyArgs,
    generator,
)


class Generator(pulumi.runtime.Mocks):
    """Runs the generator for each command; ``requests`` are what it was asked, by resource name."""

    def __init__(self) -> None:
        self.requests: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(args.inputs)
        if args.typ == "command:local:Command":
            stdin = outputs["stdin"]
            text = stdin["value"] if isinstance(stdin, dict) else stdin  # a secret comes wrapped
            self.requests[args.name] = json.loads(text)
            if "key" in text and self.requests[args.name]["kind"] == "certificate":
                assert isinstance(stdin, dict), "a request with an authority's key is a secret"
            assert args.name not in outputs["create"]
            outputs["stdout"] = generator.generate(self.requests[args.name])
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None


def run(program: Callable[[], dict[str, pulumi.Output[Any]]]) -> tuple[dict[str, Any], set[str], Generator]:
    """The outputs that ``program`` returns, the names of those that are secret, and what was asked for."""
    generator = Generator()
    pulumi.runtime.set_mocks(generator, project="jarvis", stack="test", preview=False)
    values: dict[str, Any] = {}
    secret: set[str] = set()

    async def look(name: str, output: pulumi.Output[Any]) -> None:
        values[name] = await output.future()
        if await output.is_secret():
            secret.add(name)

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def inside() -> pulumi.Output[Any]:
        found = program()

        async def all_of_it() -> None:
            for name, output in found.items():
                await look(name, output)

        return pulumi.Output.from_input(all_of_it())

    inside()
    return values, secret, generator


@pytest.fixture(autouse=True)
def _date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JARVIS_TODAY", "2026-06-01")


def _program(rotation: int = 0) -> Callable[[], dict[str, pulumi.Output[Any]]]:
    def program() -> dict[str, pulumi.Output[Any]]:
        authority = Authority("etcd", AuthorityArgs(common_name="etcd", rotation=rotation))
        leaf = Certificate("peer", CertificateArgs(authority=authority, common_name="peer"))
        pair = KeyPair("tokens", KeyPairArgs(rotation=rotation))
        return {
            "trusted": authority.certificate,
            "issuer": authority.issuer,
            "authority-key": authority.key,
            "certificate": leaf.certificate,
            "chain": leaf.chain,
            "key": leaf.key,
            "public": pair.public,
            "private": pair.private,
            "password": Password("password", PasswordArgs(rotation=rotation)).value,
            "random": RandomKey("random", RandomKeyArgs(bytes=16)).value,
        }

    return program


def test_keys_and_passwords_are_secret_and_certificates_are_not() -> None:
    _, secret, _ = run(_program())
    assert secret == {"authority-key", "key", "private", "password", "random"}


def test_three_generations_are_trusted_and_one_signs() -> None:
    values, _, _ = run(_program())
    trusted = x509.load_pem_x509_certificates(values["trusted"].encode())
    leaf = x509.load_pem_x509_certificate(values["certificate"].encode())
    assert len(trusted) == 3
    assert values["trusted"].startswith(values["issuer"])
    leaf.verify_directly_issued_by(trusted[0])
    assert values["chain"] == values["certificate"] + values["issuer"]


def test_a_rotation_makes_the_next_generation_sign_and_renews_what_it_signed() -> None:
    _, _, before = run(_program(0))
    _, _, after = run(_program(1))
    generations = [{n for n in g.requests if n.startswith("etcd-")} for g in (before, after)]
    assert len(generations[0] & generations[1]) == 2, "the one that signed and the next one stay as they are"
    assert len(generations[1] - generations[0]) == 1
    same = generations[0] & generations[1]
    assert all(before.requests[n] == after.requests[n] for n in same), "what stays is not made anew"
    assert before.requests["password"] != after.requests["password"]
    assert before.requests["random"] == after.requests["random"]


def test_a_key_pair_is_believed_before_it_signs() -> None:
    values, _, generator = run(_program(0))
    assert values["public"].count("BEGIN PUBLIC KEY") == 2
    assert {n for n in generator.requests if n.startswith("tokens-")} == {"tokens-0", "tokens-1"}
    values, _, _ = run(_program(1))
    assert values["public"].count("BEGIN PUBLIC KEY") == 3


def test_nothing_is_renewed_on_another_day_of_the_period_and_the_leaf_is_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(day: str) -> dict[str, Any]:
        monkeypatch.setenv("JARVIS_TODAY", day)
        requests = run(_program())[2].requests
        for request in requests.values():
            request.pop("authority", None)  # a new key each time that the fake is asked
        return requests

    first = asked("2026-06-01")
    assert asked("2026-06-02") == first
    later = asked("2026-12-01")
    assert {name for name in first if later.get(name) != first[name]} == {"peer"}
