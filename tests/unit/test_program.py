"""Programs of servers: one file each, the same on every machine, which changes with its own modules alone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from jarvis.remote import File, program
from jarvis.remote.files import render_entry
from jarvis.remote.program import JARVIS, programs, shipped
from jarvis.remote.script import FILES


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where what is shipped is put together."""
    monkeypatch.setattr(program, "SHIPPED", tmp_path / "shipped")
    program.program.cache_clear()
    yield tmp_path / "shipped"
    program.program.cache_clear()


def changed(monkeypatch: pytest.MonkeyPatch, module: str) -> dict[str, str]:
    """The digests of all programs once the text of ``module``, a path below ``jarvis/``, is another."""
    read = Path.read_text

    def other(path: Path, encoding: str | None = None) -> str:
        return read(path, encoding) + ("# other\n" if path == JARVIS / module else "")

    monkeypatch.setattr(Path, "read_text", other)
    program.program.cache_clear()
    return {name: program.program(name).digest for name in programs()}


def test_there_are_programs() -> None:
    assert programs() == ["ceph", "database"]


@pytest.mark.parametrize(
    ("module", "follows"),
    [
        ("host/ceph/disk.py", {"ceph"}),
        ("host/ceph/member.py", {"ceph"}),
        ("host/database/decision.py", {"database"}),
        ("host/database/__init__.py", {"database"}),
        ("remote/program.py", set()),
    ],
)
def test_a_module_changes_the_programs_that_use_it(
    monkeypatch: pytest.MonkeyPatch, module: str, follows: set[str]
) -> None:
    before = {name: program.program(name).digest for name in programs()}
    after = changed(monkeypatch, module)
    assert {name for name in before if before[name] != after[name]} == follows


@pytest.mark.parametrize("name", programs())
def test_a_program_is_the_same_wherever_and_whenever_it_is_packed(name: str) -> None:
    first = program.program(name).packed
    program.program.cache_clear()
    assert program.program(name).packed == first
    with zipfile.ZipFile(BytesIO(first)) as archive:
        entries = archive.infolist()
    assert [one.filename for one in entries] == sorted(one.filename for one in entries)
    for one in entries:
        about = (one.date_time, one.compress_type, one.create_system, one.external_attr)
        assert about == ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3, 0o100644 << 16)


@pytest.mark.parametrize("name", programs())
def test_a_program_runs_from_its_file_alone(name: str, tmp_path: Path) -> None:
    """As on a server: without Jarvis beside it, and without what is installed here."""
    file = tmp_path / "tool"
    file.write_bytes(program.program(name).packed)
    file.chmod(0o755)
    (tmp_path / "etc/ceph").mkdir(parents=True)
    (tmp_path / "etc/mysql/jarvis").mkdir(parents=True)
    (tmp_path / "etc/ceph/jarvis.json").write_text("{}")
    (tmp_path / "etc/mysql/jarvis/member.json").write_text('{"data": "/var/lib/mariadb"}')
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(file), "no", "verb"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "JARVIS_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.endswith(f": {name}: not a verb: no verb\n")
    assert done.returncode == 1
    assert file.read_bytes().startswith(b"#!/usr/bin/python3\n")


@pytest.mark.parametrize("name", programs())
def test_a_program_needs_the_standard_library_alone(name: str) -> None:
    for line in program.program(name).splitlines():
        text = (JARVIS.parent / program._path(line.split()[2])).read_text()
        names = {word for _, words in program.imports(text) for word in words}
        assert {word.partition(".")[0] for word in names} <= {*sys.stdlib_module_names, "jarvis"}, line


def test_what_servers_do_not_get_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    for line, problem in (
        ("import jarvis.remote.sudo", "imports jarvis.remote.sudo, which is not shipped"),
        ("from jarvis.core import text", "imports jarvis.core.text, which is not shipped"),
        ("from . import disk", "imports by a relative name"),
    ):

        def other(path: Path, encoding: str | None = None, line: str = line) -> str:
            return read(path, encoding) + (f"{line}\n" if path.match("host/ceph/member.py") else "")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", other)
            program.program.cache_clear()
            with pytest.raises(ValueError, match=problem):
                program.program("ceph")


def test_a_preview_names_each_module() -> None:
    ceph = program.program("ceph")
    *modules, last = render_entry(File(path="/x/tool", content=ceph, mode="0755"), "").splitlines()
    assert last == f"script 0755 root:root {ceph.digest} host/ceph.pyz /x/tool"
    assert [line.split()[2] for line in modules] == [
        "jarvis",
        "jarvis.host",
        "jarvis.host.ceph",
        "jarvis.host.ceph.__main__",
        "jarvis.host.ceph.disk",
        "jarvis.host.ceph.member",
    ]


def test_what_is_shipped_is_the_scripts_and_the_programs(own_folder: Path) -> None:
    folder = shipped()
    assert folder.parent == own_folder
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    scripts = {str(path.relative_to(FILES)): path.read_bytes() for path in FILES.rglob("*") if path.is_file()}
    assert found == scripts | {f"host/{name}.pyz": program.program(name).packed for name in programs()}
    assert shipped() == folder
    assert list(own_folder.iterdir()) == [folder]


@pytest.mark.parametrize("how", ["edited", "more", "less"])
def test_what_somebody_changed_there_is_made_anew(own_folder: Path, how: str) -> None:
    folder = shipped()
    if how == "edited":
        (folder / "apply.sh").write_text("half")
    elif how == "more":
        (folder / "more").touch()
    else:
        (folder / "apply.sh").unlink()
    assert shipped() == folder
    assert (folder / "apply.sh").read_bytes() == (FILES / "apply.sh").read_bytes()
    assert not (folder / "more").exists()
    assert list(own_folder.iterdir()) == [folder]
