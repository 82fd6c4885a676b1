"""The files that lead to the cloud: written by the deployment, when they are true, and by no preview."""

from __future__ import annotations

from pathlib import Path

import pulumi
import pytest

from stacks.access import VARIABLE, AccessFile, keep_access, stack_folder
from tests.unit.harness import record


def deploy(folder: Path, text: str) -> None:
    """Writes ``text``, a form of ``str.format`` with the folder as 0, as clouds.yaml of the stack trial."""

    def program() -> None:
        found = stack_folder({VARIABLE: str(folder)})
        keep_access(
            {"clouds.yaml": AccessFile(content=lambda own: pulumi.Output.secret(text.format(own)))}, found
        )

    record(program, "trial")


def test_a_deployment_writes_them_for_their_owner_alone(tmp_path: Path) -> None:
    own = tmp_path / "trial"
    own.mkdir()
    deploy(tmp_path, "of the dead cloud")
    deploy(tmp_path, "cacert: {}/gateway.pem")
    assert (own / "clouds.yaml").read_text() == f"cacert: {own}/gateway.pem"
    assert (own / "clouds.yaml").stat().st_mode & 0o777 == 0o600


def test_another_stack_has_no_folder_there(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    deploy(tmp_path, "of the stack trial")
    assert list((tmp_path / "dev").iterdir()) == []
    assert not (tmp_path / "trial").exists()


def test_a_preview_writes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trial").mkdir()
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    deploy(tmp_path, "planned")
    assert list((tmp_path / "trial").iterdir()) == []


def test_each_is_written_after_what_makes_it_true() -> None:
    """Credentials of the next authority would be refused by servers that have the last one yet."""
    waited: list[str] = []

    class Known(pulumi.CustomResource):
        def __init__(self, name: str) -> None:
            super().__init__("test:index:Known", name)

    def program() -> None:
        resource = Known("provider")
        resource.id.apply(lambda _: waited.append("resource"))
        keep_access(
            {"kubeconfig": AccessFile(content=lambda _: pulumi.Output.from_input("x"), after=[resource])},
            Path("/nowhere"),
        )

    with pytest.raises(FileNotFoundError):
        record(program)
    assert waited == ["resource"]
