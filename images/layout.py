"""An image on disk: an OCI image layout (opencontainers/image-spec, image-layout.md) of one manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from images.layer import Packed
from images.recipe import Runtime

_CREATED = "1980-01-01T00:00:00Z"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


def blobs_of(layout: Path) -> Path:
    """The folder of a layout's blobs; it is made when it is missing."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    return blobs


def write_layout(
    layout: Path, description: str, title: str, runtime: Runtime | None, layers: list[Packed]
) -> str:
    """Writes configuration, manifest and index beside the layers that are there already.

    Returns the manifest's digest, ``sha256:…``. The same layers and arguments give the same digest.
    """
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": _CREATED,
        "config": _runtime(runtime, title, description),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created": _CREATED, "created_by": f"jarvis images/{title}"} for _ in layers],
    }
    config_blob = _write(layout, config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": {"mediaType": _CONFIG, **config_blob},
        "layers": [{"mediaType": _LAYER, "digest": each.digest, "size": each.size} for each in layers],
    }
    manifest_blob = _write(layout, manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [{"mediaType": _MANIFEST, **manifest_blob}],
    }
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}\n', encoding="utf-8")
    (layout / "index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return str(manifest_blob["digest"])


def read_layers(layout: Path, digest: str) -> list[Packed]:
    """The layers of the image ``digest`` in ``layout``."""
    manifest = _read(layout, digest)
    config = _read(layout, manifest["config"]["digest"])
    return [
        Packed(digest=layer["digest"], diff_id=diff_id, size=layer["size"])
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    ]


def blob_path(layout: Path, digest: str) -> Path:
    """Where the blob ``sha256:…`` lies."""
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _read(layout: Path, digest: str) -> Any:
    return json.loads(blob_path(layout, digest).read_bytes())


def _write(layout: Path, document: object) -> dict[str, str | int]:
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    name = hashlib.sha256(data).hexdigest()
    (blobs_of(layout) / name).write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def _runtime(runtime: Runtime | None, title: str, description: str) -> dict[str, Any]:
    labels = {
        "org.opencontainers.image.title": title,
        "org.opencontainers.image.description": description,
    }
    if runtime is None:
        return {"Labels": labels}
    config: dict[str, Any] = {
        "User": f"{runtime.user}:{runtime.user}",
        "Env": [f"{key}={value}" for key, value in sorted(runtime.environment.items())],
        "WorkingDir": runtime.directory,
        "Labels": labels,
    }
    if runtime.entrypoint:
        config["Entrypoint"] = runtime.entrypoint
    if runtime.command:
        config["Cmd"] = runtime.command
    if runtime.ports:
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in runtime.ports}
    if runtime.stop_signal:
        config["StopSignal"] = runtime.stop_signal
    return config
