"""Programs of servers in Python: packages of ``jarvis/host``, each as one file with what it imports."""

from __future__ import annotations

import ast
import hashlib
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jarvis.remote.script import FILES, FileText, read_file

JARVIS = FILES.parent
# Where they are put together, for the plugin to copy: a folder for each content.
SHIPPED = JARVIS.parent / ".jarvis" / "shipped"
_SHEBANG = b"#!/usr/bin/python3\n"
# ZIP knows no time before this one.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


class Program(FileText):
    """A zipapp. As text it is what a preview shows: ``module DIGEST NAME``, a line for each module.

    Attributes:
        packed: its bytes, which follow from its modules alone.
    """

    packed: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of what is shipped."""
        return hashlib.sha256(self.packed).hexdigest()


@cache
def program(name: str) -> Program:
    """The program of the package ``jarvis.host.<name>``. It starts with that one's ``__main__``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it imports something of Jarvis that is outside of ``jarvis.host``.
    """
    texts = _modules(f"jarvis.host.{name}.__main__")
    made = Program("".join(f"module {_digest(text)} {module}\n" for module, text in sorted(texts.items())))
    made.name = f"host/{name}.pyz"
    made.packed = _pack(
        {_path(module): text for module, text in texts.items()}, f"jarvis.host.{name}.__main__"
    )
    return made


def programs() -> list[str]:
    """The names of all programs."""
    return sorted(path.parent.name for path in (JARVIS / "host").glob("*/__main__.py"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _path(module: str) -> str:
    """The path of ``module`` where Jarvis itself lies: a file, or its package's ``__init__``."""
    path = module.replace(".", "/")
    return f"{path}/__init__.py" if (JARVIS.parent / path).is_dir() else f"{path}.py"


def _modules(first: str) -> dict[str, str]:
    """The texts of ``first`` and of all it imports of Jarvis, with the packages that they are in."""
    found: dict[str, str] = {}
    rest = [first]
    while rest:
        module = rest.pop()
        if module in found:
            continue
        if not f"{module}.".startswith("jarvis.host.") and module != "jarvis":
            raise ValueError(f"{first} imports {module}, which is not shipped to servers")
        found[module] = (JARVIS.parent / _path(module)).read_text(encoding="utf-8")
        rest += [module.rpartition(".")[0]] if "." in module else []
        for source, names in imports(found[module]):
            if source.startswith("."):
                raise ValueError(f"{module} imports by a relative name, which is not followed")
            rest += [each for each in names if each.partition(".")[0] == "jarvis"]
    return found


def imports(text: str) -> list[tuple[str, list[str]]]:
    """What a module with this text imports: for each statement the word after ``from``, and the modules."""
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.append(("", [alias.name for alias in node.names]))
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            # What is imported is a module of its own, or a name of the module.
            inner = [f"{source}.{alias.name}" for alias in node.names]
            found.append(
                (source, [each if (JARVIS.parent / _path(each)).exists() else source for each in inner])
            )
    return found


def _pack(texts: Mapping[str, str], first: str) -> bytes:
    """A zipapp of ``texts``, by path, that starts with the module ``first``; the same bytes on every machine.

    What is compressed would differ by the version of zlib.
    """
    packed = io.BytesIO()
    packed.write(_SHEBANG)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_STORED) as archive:
        for path, text in sorted({**texts, "__main__.py": f"import {first}\n"}.items()):
            entry = zipfile.ZipInfo(path, _NO_TIME)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, text.encode())
    return packed.getvalue()


def shipped() -> Path:
    """A folder with what servers get: the scripts of ``jarvis/files`` and all programs, by their names there.

    It is made when it is not there, and is as it should be then: its name is the digest of its content.

    Raises:
        OSError: it cannot be made.
    """
    scripts = sorted(path for path in FILES.rglob("*") if path.suffix == ".sh")
    content = {
        str(path.relative_to(FILES)): read_file(str(path.relative_to(FILES))).encode() for path in scripts
    }
    content |= {made.name: made.packed for made in map(program, programs())}
    whole = hashlib.sha256()
    for name, data in sorted(content.items()):
        whole.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    folder = SHIPPED / whole.hexdigest()[:32]
    if not _holds(folder, content):
        _make(folder, content)
    return folder


def _holds(folder: Path, content: Mapping[str, bytes]) -> bool:
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return found.keys() == content.keys() and all(
        path.read_bytes() == content[name] for name, path in found.items()
    )


def _make(folder: Path, content: Mapping[str, bytes]) -> None:
    """Puts ``folder`` in its place by rename: another run may do the same meanwhile."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
    try:
        for name, data in content.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        made.chmod(0o755)
        # One that somebody changed goes; one that another run has just made is as good.
        if folder.exists() and not _holds(folder, content):
            os.rename(folder, made / ".former")
            shutil.rmtree(made / ".former")
        try:
            os.rename(made, folder)
        except OSError:
            if not _holds(folder, content):
                raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
