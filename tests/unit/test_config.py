"""Mistakes of the configuration: each is found, all at once, at the path of its field."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from jarvis.config import ConfigurationError, Environment, load_artifacts, parse_environment
from jarvis.config.access import key_file, private_key
from jarvis.config.before import read_before, to_record
from jarvis.config.fixed import check_fixed
from jarvis.config.load import check_encrypted, field_path, host_key, with_host_keys
from jarvis.config.openstack import OpenStack
from jarvis.config.schema import FILE, schema_text, stack_schema
from jarvis.config.service import ServiceSettings
from jarvis.openstack.services.keystone import KEYSTONE
from jarvis.pki.period import today

PROJECT = Path(__file__).resolve().parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExampleExampleExampleExampleExampleExample0"
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\n"

Values = dict[str, Any]


def document(stack: str = "dev") -> Values:
    """The configuration file of a stack."""
    loaded: Values = yaml.safe_load((PROJECT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def values() -> Values:
    """The environment of the stack dev, to be spoilt."""
    found: Values = copy.deepcopy(document()["config"]["jarvis:environment"])
    return found


def mistakes(values: Values) -> list[str]:
    """The lines of the error, without its first."""
    with pytest.raises(ConfigurationError) as caught:
        parse_environment(values, "Pulumi.x.yaml")
    first, *lines = str(caught.value).splitlines()
    count = f"{len(lines)} mistake{'s' if len(lines) > 1 else ''}"
    assert first == f"Pulumi.x.yaml has {count}; nothing has been changed:"
    return [line.strip() for line in lines]


@pytest.mark.parametrize("stack", ["dev", "production"])
def test_the_examples_are_right(stack: str) -> None:
    env = parse_environment(document(stack)["config"]["jarvis:environment"], stack)
    assert env.name == stack
    jsonschema.validate(document(stack), stack_schema())


def _set(*path: str | int, to: object) -> Callable[[Values], None]:
    """A change of one value."""

    def change(values: Values) -> None:
        at: Any = values
        for part in path[:-1]:
            at = at.setdefault(part, {}) if isinstance(at, dict) else at[part]
        at[path[-1]] = to

    return change


def _without_role(role: str) -> Callable[[Values], None]:
    def change(values: Values) -> None:
        for server in values["servers"]:
            server["roles"] = [each for each in server["roles"] if each != role]

    return change


WRONG: dict[str, tuple[Callable[[Values], None], str]] = {
    "unknown key": (_set("colour", to="blue"), "colour: "),
    "unknown key in a section": (_set("networks", "mask", to=24), "networks.mask: "),
    "unknown key of a server": (_set("servers", 1, "adress", to="10.88.0.9"), "servers[1].adress: "),
    "unknown role": (_set("servers", 0, "roles", to=["king"]), "servers[0].roles"),
    "duplicate name": (
        _set("servers", 1, "name", to="jarvis-1"),
        "servers[1].name: jarvis-1 is the name of 2",
    ),
    "duplicate address": (
        _set("servers", 2, "address", to="10.88.0.12"),
        "servers[2].address: 10.88.0.12 is the address of 2",
    ),
    "address outside": (
        _set("servers", 0, "address", to="10.99.0.11"),
        "servers[0].address: 10.99.0.11 of jarvis-1 is not a host of 10.88.0.0/24",
    ),
    "address of the network": (
        _set("servers", 0, "address", to="10.88.0.0"),
        "servers[0].address: 10.88.0.0 of jarvis-1 is not a host",
    ),
    "no address": (_set("servers", 0, "address", to="here"), "servers[0].address: "),
    "virtual address outside": (
        _set("networks", "virtual_address", to="10.99.0.1"),
        "networks.virtual_address: 10.99.0.1 is not a host",
    ),
    "virtual address taken": (
        _set("networks", "virtual_address", to="10.88.0.13"),
        "servers[2].address: 10.88.0.13 of jarvis-3 is the virtual address",
    ),
    "pods overlap services": (
        _set("networks", "pods", to="10.96.0.0/12"),
        "networks.services: 10.96.0.0/16 overlaps pods 10.96.0.0/12",
    ),
    "pods overlap servers": (
        _set("networks", "pods", to="10.88.0.0/16"),
        "networks.pods: 10.88.0.0/16 overlaps management",
    ),
    "services overlap servers": (
        _set("networks", "services", to="10.88.0.0/20"),
        "networks.services: 10.88.0.0/20 overlaps management",
    ),
    "pods too small": (
        _set("networks", "pods", to="10.244.0.0/23"),
        "networks.pods: too small for 3 servers",
    ),
    "host bits": (_set("networks", "management", to="10.88.0.1/24"), "networks.management: "),
    "even etcd": (_set("servers", 2, "roles", to=["worker"]), "servers: 2 servers have the role etcd"),
    "even queue": (
        _set("servers", 1, "roles", to=["etcd", "control-plane", "worker", "registry", "storage"]),
        "servers: 2 servers have the role queue; an even number adds no safety",
    ),
    "two databases": (
        _set("servers", 1, "roles", to=["etcd", "worker", "registry", "queue", "storage"]),
        "servers: 2 servers have the role database; an even number",
    ),
    **{
        f"nobody is {role}": (_without_role(role), f"servers: no server has the role {role}")
        for role in ("etcd", "control-plane", "worker", "registry", "database", "gateway", "queue", "storage")
    },
    "counter of no secret": (
        _set("rotations", to={"keystone-admni": 1}),
        "rotations.keystone-admni: no secret has this name; the closest is keystone-admin",
    ),
    "control plane without worker": (
        _set("servers", 0, "roles", to=["etcd", "control-plane", "database"]),
        "servers[0].roles: jarvis-1 has the role control-plane and so needs the role worker",
    ),
    "old Kubernetes": (_set("versions", "kubernetes", to="1.20.0"), "versions.kubernetes: 1.20.0"),
    "etcd of another time": (_set("versions", "etcd", to="3.5.0"), "versions.etcd: 3.5.0 does not go with"),
    "containerd of another time": (_set("versions", "containerd", to="1.7.0"), "versions.containerd: 1.7.0"),
    "no version": (_set("versions", "etcd", to="latest"), "versions.etcd: "),
    "two host keys": (_set("servers", 0, "host_key", to=KEY), "servers[0].host_key: jarvis-1 needs one of"),
    "no host key's form": (_set("servers", 0, "host_key", to="hello"), "servers[0].host_key: "),
    "dashes": (
        _set("kubernetes", "apiserver_flags", to={"--v": 2}),
        "kubernetes.apiserver_flags.--v: '--v' is not the name of a flag",
    ),
    "no replicas": (_set("openstack", "keystone", "replicas", to=0), "openstack.keystone.replicas: "),
    "port": (_set("registry", "port", to=80), "registry.port: "),
    "router": (_set("networks", "virtual_router_id", to=256), "networks.virtual_router_id: "),
    "name": (_set("name", to="Not A Name"), "name: "),
    "no servers": (_set("servers", to=[]), "servers: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_found_at_its_field(values: Values, case: str) -> None:
    change, expected = WRONG[case]
    change(values)
    found = mistakes(values)
    assert any(line.startswith(expected) for line in found), found


def test_no_host_key_at_all(values: Values) -> None:
    del values["servers"][1]["host_key_file"]
    assert mistakes(values) == ["servers[1].host_key: jarvis-2 needs one of host_key and host_key_file"]


def test_all_mistakes_come_at_once(values: Values) -> None:
    values["servers"][1]["name"] = "jarvis-1"
    values["servers"][2]["address"] = "10.99.0.13"
    values["networks"]["services"] = "10.244.0.0/20"
    values["versions"] = {"etcd": "3.5.0"}
    found = mistakes(values)
    starts = {line.split(":")[0] for line in found}
    assert starts == {
        "servers[0].name",
        "servers[1].name",
        "servers[2].address",
        "networks.services",
        "versions.etcd",
    }


def test_unknown_keys_and_wrong_values_come_at_once(values: Values) -> None:
    values["colour"] = "blue"
    values["servers"][0]["address"] = "here"
    values["networks"]["mask"] = 24
    assert {line.split(":")[0] for line in mistakes(values)} == {
        "colour",
        "servers[0].address",
        "networks.mask",
    }


def test_keystone_has_no_threads_and_says_why_beside_other_mistakes(values: Values) -> None:
    values["openstack"] = {"keystone": {"threads": 4, "colour": "blue"}, "glance": {"threads": 8}}
    said, other = mistakes(values)
    assert said.startswith("openstack.keystone.threads: ")
    assert "judged by the token of another one" in said
    assert "raise processes or replicas instead" in said
    assert other.startswith("openstack.keystone.colour: ")


def test_no_service_has_threads_unless_its_code_was_looked_at() -> None:
    """One more needs a decision record like 029, and then a field of its own."""
    services = {name: type(service) for name, service in OpenStack() if isinstance(service, ServiceSettings)}
    settable = {
        name for name, kind in services.items() if "threads" in kind.model_json_schema()["properties"]
    }
    assert settable == {"glance"}


def test_the_path_of_a_field() -> None:
    assert field_path(("servers", 0, "address")) == "servers[0].address"
    assert field_path(("name",)) == "name"


def test_part_networks_do_not_overlap(values: Values) -> None:
    env = parse_environment(values, "x")
    parts = [env.pod_subnet(server) for server in env.servers]
    assert [str(part) for part in parts] == ["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24"]
    assert str(env.networks.cluster_dns) == "10.96.0.10"
    with pytest.raises(IndexError):
        env.networks.pod_subnet(256)


def test_the_schema_is_current() -> None:
    assert FILE.read_text(encoding="utf-8") == schema_text(), "write it anew with: make schema"


def test_the_schema_refuses_what_is_not_there(values: Values) -> None:
    values["colour"] = "blue"
    with pytest.raises(jsonschema.ValidationError, match="colour"):
        jsonschema.validate({"config": {"jarvis:environment": values}}, stack_schema())


# --- files that the configuration names -------------------------------------------------------------------


def environment(values: Values, folder: Path) -> Environment:
    """``values`` with its files below ``folder``, which are not written yet."""
    for server in values["servers"]:
        server["host_key_file"] = "known_hosts"
    values["ssh"]["private_key_file"] = "key"
    return parse_environment(values, "x")


def test_host_keys_are_read(values: Values, tmp_path: Path) -> None:
    env = environment(values, tmp_path)
    (tmp_path / "key").write_text(PRIVATE)
    lines = [f"{server.address},{server.name} {KEY} comment\n" for server in env.servers]
    (tmp_path / "known_hosts").write_text("# servers\n" + "".join(lines))
    read = with_host_keys(env, "x", tmp_path)
    assert [server.host_key for server in read.servers] == [KEY] * 3
    assert private_key(key_file(read, read.servers[0]), tmp_path) == PRIVATE


def test_all_missing_files_come_at_once(values: Values, tmp_path: Path) -> None:
    env = environment(values, tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        with_host_keys(env, "Pulumi.x.yaml", tmp_path)
    text = str(caught.value)
    for at in range(3):
        assert f"servers[{at}].host_key_file: there is no file known_hosts" in text
    assert "ssh.private_key_file: there is no file key" in text


def test_a_server_without_a_line_is_named(values: Values, tmp_path: Path) -> None:
    env = environment(values, tmp_path)
    (tmp_path / "key").write_text(PRIVATE)
    (tmp_path / "known_hosts").write_text(f"10.88.0.11 {KEY}\n10.88.0.13 {KEY}\n")
    with pytest.raises(ConfigurationError, match=r"servers\[1\]\.host_key_file: known_hosts has no key of"):
        with_host_keys(env, "x", tmp_path)


def test_the_forms_of_a_host_key() -> None:
    assert host_key(f"{KEY} root@server\n", "10.0.0.1") == KEY
    assert host_key(f"10.0.0.2,10.0.0.1 {KEY}\n", "10.0.0.1") == KEY
    assert host_key(f"10.0.0.11 {KEY}\n", "10.0.0.1") is None
    assert host_key("", "10.0.0.1") is None


# --- artifacts ---------------------------------------------------------------------------------------------


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    """A list with a small release and an image of one layer."""
    blobs = tmp_path / "image" / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return f"sha256:{digest}"

    parts = {"config": {"digest": blob(b"{}")}, "layers": [{"digest": blob(b"layer")}]}
    manifest = blob(json.dumps(parts).encode())
    (tmp_path / "image" / "index.json").write_text("{}")
    (tmp_path / "release.raw").write_bytes(b"release")
    listed = tmp_path / "artifacts.json"
    release = {
        "path": str(tmp_path / "release.raw"),
        "sha256": hashlib.sha256(b"release").hexdigest(),
        "size": 7,
        "versions": {"etcd": "3.6.16"},
    }
    image = {"path": str(tmp_path / "image"), "digest": manifest, "recipe": "r"}
    listed.write_text(json.dumps({"release": release, "images": {"one": image}}))
    return listed


def test_whole_artifacts_are_taken(artifacts: Path) -> None:
    assert load_artifacts(artifacts).release.size == 7
    assert load_artifacts(artifacts) == load_artifacts(artifacts)


def test_a_corrupt_artifact_is_found_even_after_a_check(artifacts: Path, tmp_path: Path) -> None:
    load_artifacts(artifacts)
    (tmp_path / "release.raw").write_bytes(b"RELEASE")
    with pytest.raises(
        ConfigurationError, match=r"release is corrupt: .*; build it again with: make artifacts"
    ):
        load_artifacts(artifacts)


@pytest.mark.parametrize("content", [b"layer", b"{}"])
def test_a_corrupt_blob_is_found(artifacts: Path, tmp_path: Path, content: bytes) -> None:
    blob = tmp_path / "image" / "blobs" / "sha256" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(b"spoilt")
    with pytest.raises(ConfigurationError, match=r"image one blob .* is corrupt"):
        load_artifacts(artifacts)


def test_what_is_missing_is_named(artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "release.raw").unlink()
    with pytest.raises(ConfigurationError, match=r"release is missing: .*release\.raw"):
        load_artifacts(artifacts)
    with pytest.raises(ConfigurationError, match=r"no artifacts: .* make artifacts"):
        load_artifacts(tmp_path / "none.json")


@pytest.mark.parametrize("spoil", ["binary", "folder", "text", "list"])
def test_a_list_of_artifacts_that_is_none_says_what_to_type(artifacts: Path, spoil: str) -> None:
    artifacts.unlink()
    if spoil == "folder":
        artifacts.mkdir()
    else:
        artifacts.write_bytes({"binary": b"\xff\xfe\x00", "text": b"hello", "list": b"[1]"}[spoil])
    with pytest.raises(ConfigurationError, match=r"artifacts\.json .*make artifacts"):
        load_artifacts(artifacts)


def test_a_folder_in_the_place_of_an_artifact_is_named(artifacts: Path, tmp_path: Path) -> None:
    (tmp_path / "release.raw").unlink()
    (tmp_path / "release.raw").mkdir()
    with pytest.raises(ConfigurationError, match=r"release is no file: .*release\.raw; build it again"):
        load_artifacts(artifacts)
    (tmp_path / "release.raw").rmdir()
    (tmp_path / "release.raw").write_bytes(b"release")
    document = json.loads(artifacts.read_text())
    blob = (
        tmp_path / "image" / "blobs" / "sha256" / document["images"]["one"]["digest"].removeprefix("sha256:")
    )
    blob.unlink()
    blob.mkdir()
    with pytest.raises(ConfigurationError, match=r"image one: .* make artifacts"):
        load_artifacts(artifacts)


def test_a_bad_date_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JARVIS_TODAY", "tomorrow")
    with pytest.raises(
        ConfigurationError, match="JARVIS_TODAY is 'tomorrow', and not a date such as 2026-01-31"
    ):
        today()


def test_files_of_keys_that_are_none_are_named(values: Values, tmp_path: Path) -> None:
    env = environment(values, tmp_path)
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    (tmp_path / "known_hosts").mkdir()
    with pytest.raises(ConfigurationError) as caught:
        with_host_keys(env, "x", tmp_path)
    text = str(caught.value)
    assert "ssh.private_key_file: key is no text, and so no key" in text
    assert "servers[0].host_key_file: known_hosts cannot be read: Is a directory" in text


def test_garbage_as_a_host_key_is_named(values: Values, tmp_path: Path) -> None:
    env = environment(values, tmp_path)
    (tmp_path / "key").write_text(PRIVATE)
    (tmp_path / "known_hosts").write_text("".join(f"{one.address} ssh-ed25519 AA!A\n" for one in env.servers))
    with pytest.raises(ConfigurationError, match=r"servers\[2\]\.host_key_file: known_hosts: the key after"):
        with_host_keys(env, "x", tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "config: []", "config: {'jarvis:environment': 3}"])
def test_a_stack_file_of_another_form_has_no_secret(values: Values, tmp_path: Path, text: str) -> None:
    env = _secret_option(values, "hunter2")
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    check_encrypted(env, "Pulumi.x.yaml", encrypted=True, file=file)


@pytest.mark.parametrize(
    ("was", "now", "refused"), [(3, 1, True), (2, 1, True), (3, 2, False), (1, 3, False)]
)
def test_the_last_copy_is_not_given_up(values: Values, was: int, now: int, refused: bool) -> None:
    values["storage"] = {"copies": was, "osd_memory_mib": 896}
    before = read_before(to_record(parse_environment(values, "x")))
    values["storage"]["copies"] = now
    env = parse_environment(values, "x").after(before)
    if refused:
        with pytest.raises(
            ConfigurationError, match=f"storage.copies: {was} copies of each object are deployed"
        ):
            check_fixed(env)
    else:
        check_fixed(env)


def test_a_mistake_of_one_field_hides_none_across_fields(values: Values) -> None:
    values["color"] = "red"
    values["networks"]["virtual_router_id"] = "many"
    values["servers"][1]["name"] = values["servers"][0]["name"]
    values["networks"]["pods"] = values["networks"]["management"]
    found = {line.partition(": ")[0] for line in mistakes(values)}
    paths = {"color", "networks.virtual_router_id", "servers[0].name", "servers[1].name", "networks.pods"}
    assert paths <= found


def _secret_option(values: Values, text: object) -> Environment:
    values["openstack"].setdefault("keystone", {})["secret_options"] = {"ldap.password": text}
    return parse_environment(values, "x")


@pytest.mark.parametrize(("given", "read"), [("a b ", "a b "), (123, "123"), (True, "true"), (1.5, "1.5")])
def test_a_secret_option_is_a_text_that_no_error_shows(values: Values, given: object, read: str) -> None:
    option = KEYSTONE.settings_in(_secret_option(values, given)).secret_options["ldap.password"]
    assert option.get_secret_value() == read
    assert read not in repr(option)
    values["openstack"]["keystone"]["secret_options"] = {"ldap.password": ["hunter2"]}
    assert "hunter2" not in "".join(mistakes(values))


def test_a_secret_option_in_the_open_is_refused(values: Values, tmp_path: Path) -> None:
    env = _secret_option(values, "hunter2")
    file = tmp_path / "Pulumi.x.yaml"
    place = values["openstack"]["keystone"]["secret_options"]

    def write() -> None:
        file.write_text(yaml.safe_dump({"config": {"jarvis:environment": values}}))

    for encrypted in (True, False):
        write()
        with pytest.raises(ConfigurationError, match=r"secret_options\.ldap\.password\nand") as caught:
            check_encrypted(env, "Pulumi.x.yaml", encrypted=encrypted, file=file)
        assert "hunter2" not in str(caught.value)
    place["ldap.password"] = {"secure": "v1:AAAA"}
    write()
    check_encrypted(env, "Pulumi.x.yaml", encrypted=True, file=file)
    file.unlink()
    check_encrypted(env, "Pulumi.x.yaml", encrypted=True, file=file)
    with pytest.raises(ConfigurationError, match="in the open"):
        check_encrypted(env, "Pulumi.x.yaml", encrypted=False, file=file)


def test_editors_take_a_secret_option_encrypted_and_not_in_the_open() -> None:
    stack = document()
    keystone = stack["config"]["jarvis:environment"]["openstack"].setdefault("keystone", {})
    keystone["secret_options"] = {"ldap.password": {"secure": "v1:AAAA"}}
    jsonschema.validate(stack, stack_schema())
    keystone["secret_options"] = {"ldap.password": "hunter2"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(stack, stack_schema())
