"""Content of declared images: files of the operator's machine, and what it fetches, by their digests."""

from __future__ import annotations

import shutil
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jarvis.config.errors import ConfigurationError
from jarvis.config.load import PROJECT, field_path
from jarvis.openstack.declared.model import Declaration, Source
from jarvis.openstack.declared.program import digests

# The first bytes of a qcow2 file (docs/interop/qcow2.rst of QEMU).
_QCOW2 = b"QFI\xfb"
# Seconds without a byte after which a download is given up.
_PAUSE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Contents:
    """Files of images, and their digests.

    Attributes:
        folder: the project, which paths of files are relative to.
    """

    folder: Path = field(default=PROJECT)

    @property
    def fetched(self) -> Path:
        """The folder of what was fetched, each file named by its SHA-256."""
        return self.folder / ".jarvis" / "fetched"

    def path(self, source: Source) -> Path:
        """Where the content of an image is on this machine, or will be."""
        return self.folder / source.file if source.file is not None else self.fetched / source.sha256

    def missing(self, images: Sequence[Declaration]) -> list[str]:
        """The URLs that ``check`` of ``images`` fetches."""
        sources = [one.settings.source() for one in images]
        return [each.url for each in sources if each and each.url and not self.path(each).exists()]

    def check(self, images: Sequence[Declaration]) -> dict[str, dict[str, Any]]:
        """Fetches what is not there yet, and compares digests and formats.

        Args:
            images: those whose content is to be there.

        Returns:
            Other digests of each one's content by algorithm, and its ``size`` in bytes, by key.

        Raises:
            ConfigurationError: of all that are wrong.
        """
        found: dict[str, dict[str, Any]] = {}
        mistakes = []
        for one in images:
            source = one.settings.source()
            if source is None:
                continue
            try:
                found[one.key] = self._checked(source)
            except (OSError, ValueError) as error:
                mistakes.append(f"  {field_path(one.place)}: {one.key}: {error}")
        if mistakes:
            raise ConfigurationError(
                "these images cannot be made; nothing has been changed:\n" + "\n".join(mistakes)
            )
        return found

    def _checked(self, source: Source) -> dict[str, Any]:
        path = self.path(source)
        if source.url is not None and not path.exists():
            self._fetch(source.url, path, source.sha256)
        try:
            content: dict[str, Any] = {**digests(str(path), "sha256", "sha512")}
        except FileNotFoundError:
            raise ValueError(f"there is no file {source.file}") from None
        if content["sha256"] != source.sha256:
            raise ValueError(_differs(str(path), content["sha256"], source.sha256))
        with path.open("rb") as file:
            found = "qcow2" if file.read(len(_QCOW2)) == _QCOW2 else "raw"
        if found != source.format:
            what = "is in qcow2" if found == "qcow2" else "is not"
            raise ValueError(f"format is {source.format}, and {path} {what}")
        return {**content, "size": path.stat().st_size}

    def _fetch(self, url: str, path: Path, sha256: str) -> None:
        """Fetches ``url`` to ``path``, which has that name only once its digest is right."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
            try:
                with urllib.request.urlopen(url, timeout=_PAUSE_SECONDS) as answer:
                    shutil.copyfileobj(answer, part, 1 << 20)
                part.close()
                found = digests(part.name, "sha256")["sha256"]
                if found != sha256:
                    raise ValueError(_differs(url, found, sha256))
                Path(part.name).rename(path)
            finally:
                Path(part.name).unlink(missing_ok=True)


def _differs(what: str, found: str, right: str) -> str:
    return f"the sha256 of {what} is {found}, not {right}"
