"""The artifacts built on the operator's machine for the servers: the host release and the images."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from jarvis.config.errors import ConfigurationError
from jarvis.config.load import PROJECT

_AGAIN = "build it again with: make artifacts"


class Release(BaseModel):
    """A host release: the squashfs image of a server's binaries.

    Attributes:
        path: path of the image.
        sha256: its digest.
        size: bytes of the image.
        versions: version of each tool, by name.
        settings: path of the list of flags and fields that the binaries take; ``None`` in older releases.
    """

    model_config = ConfigDict(frozen=True)
    path: str
    sha256: str
    size: int
    versions: dict[str, str]
    settings: str | None = None


class Image(BaseModel):
    """A container image.

    Attributes:
        path: folder of its OCI layout.
        digest: digest of its manifest, with its algorithm.
        recipe: digest of the recipe that it was built from.
    """

    model_config = ConfigDict(frozen=True)
    path: str
    digest: str
    recipe: str


class Artifacts(BaseModel):
    """The host release, and the container images by name."""

    model_config = ConfigDict(frozen=True)
    release: Release
    images: dict[str, Image]


def load_artifacts(file: Path | None = None) -> Artifacts:
    """The artifacts of a list, each checked against its digest.

    The result of a check is kept beside the list, with size and time of the file: an unchanged file is read
    once.

    Args:
        file: the list; ``$JARVIS_ARTIFACTS`` or ``.jarvis/artifacts.json`` by default.

    Raises:
        ConfigurationError: an artifact is missing or corrupt. It names the artifact and the command to type.
    """
    file = file or Path(os.environ.get("JARVIS_ARTIFACTS") or PROJECT / ".jarvis" / "artifacts.json")
    try:
        artifacts = Artifacts.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(f"no artifacts: {file} is missing; {_AGAIN}") from None
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}; {_AGAIN}") from None
    except ValidationError as error:
        raise ConfigurationError(f"{file} is not a list of artifacts; {_AGAIN}\n{error}") from None
    seen_file = file.with_suffix(".seen.json")
    seen = _read_seen(seen_file)
    checks = {"release": (Path(artifacts.release.path), artifacts.release.sha256)}
    for name, image in artifacts.images.items():
        layout = Path(image.path)
        for blob in _blobs(name, layout, image.digest):
            checks[f"image {name}"] = (layout / "index.json", "")
            checks[f"image {name} blob {blob[:12]}"] = (layout / "blobs" / "sha256" / blob, blob)
    fresh: dict[str, list[object]] = {}
    for what, (path, digest) in checks.items():
        fresh |= _check(what, path, digest, seen)
    if fresh != seen:
        temporary = seen_file.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(fresh), encoding="utf-8")
        temporary.replace(seen_file)
    return artifacts


def _read_seen(file: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _blobs(name: str, layout: Path, digest: str) -> list[str]:
    """Digests, without their algorithm, of an image's manifest, configuration and layers."""
    manifest = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
    try:
        document = json.loads(manifest.read_bytes())
        parts = [document["config"], *document["layers"]]
        return [digest.removeprefix("sha256:"), *(p["digest"].removeprefix("sha256:") for p in parts)]
    except FileNotFoundError:
        raise ConfigurationError(f"image {name} is missing: {manifest}; {_AGAIN}") from None
    except OSError as error:
        raise ConfigurationError(
            f"image {name}: {manifest} cannot be read: {error.strerror}; {_AGAIN}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"image {name} is corrupt: {manifest}; {_AGAIN}") from None


def _check(what: str, path: Path, digest: str, seen: dict[str, list[object]]) -> dict[str, list[object]]:
    try:
        state = path.stat()
    except FileNotFoundError:
        raise ConfigurationError(f"{what} is missing: {path}; {_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{what}: {path} cannot be read: {error}; {_AGAIN}") from None
    if not stat.S_ISREG(state.st_mode):
        raise ConfigurationError(f"{what} is no file: {path}; {_AGAIN}")
    mark: list[object] = [state.st_size, state.st_mtime_ns, digest]
    if digest and seen.get(str(path)) != mark:
        try:
            with path.open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise ConfigurationError(f"{what}: {path} cannot be read: {error.strerror}; {_AGAIN}") from None
        if found != digest:
            raise ConfigurationError(f"{what} is corrupt: {path} has sha256 {found}, not {digest}; {_AGAIN}")
    return {str(path): mark}
