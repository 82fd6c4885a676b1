"""The registry's own program and configuration, with skopeo, on loopback: who may push and pull, and what."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from images.layer import Tree, pack
from images.layout import blobs_of, read_layers, write_layout
from images.recipe import Runtime
from jarvis.images import push
from jarvis.images.registry import registry_config
from jarvis.pki import generator

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Running:
    """A registry at work. ``request``: what pushes the image ``hello`` (``digest``) to it."""

    endpoint: str
    digest: str
    request: dict[str, Any]
    artifacts: Path
    data: Path


def program() -> str:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jarvis" / "tools"
    found = sorted(cache.glob("registry/*/registry"), key=lambda path: path.stat().st_mtime)
    path = str(found[-1]) if found else shutil.which("registry")
    assert path, "the registry is not built; type: make toolchain"
    return path


def leaf(authority: dict[str, str], name: str, *, server: bool) -> dict[str, str]:
    made: dict[str, str] = json.loads(
        generator.generate(
            {
                "kind": "certificate",
                "authority": {"common_name": "test authority", "key": authority["key"]},
                "common_name": name,
                "organizations": [],
                "dns_names": ["localhost"] if server else [],
                "addresses": ["127.0.0.1"] if server else [],
                "client": not server,
                "server": server,
            }
        )
    )
    return made


def certificates(folder: Path, authority: str, client: dict[str, str] | None) -> Path:
    folder.mkdir()
    (folder / "ca.crt").write_text(authority)
    if client is not None:
        (folder / "client.cert").write_text(client["certificate"])
        (folder / "client.key").write_text(client["key"])
    return folder


def layout(folder: Path, content: str) -> str:
    tree = Tree()
    tree.text("hello", content)
    return write_layout(folder, "test", "hello", Runtime(user=42, name="x"), [pack(tree, blobs_of(folder))])


def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["skopeo", *words], capture_output=True, text=True, timeout=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("registry")
    authority = json.loads(generator.authority({"common_name": "test authority"}))
    server, pusher = leaf(authority, "server", server=True), leaf(authority, "pusher", server=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = registry_config("127.0.0.1", port)
    text = text.replace("/etc/registry", str(folder)).replace("/var/lib/registry", str(folder / "data"))
    (folder / "config.yml").write_text(text)
    (folder / "server.crt").write_text(server["certificate"])
    (folder / "server.key").write_text(server["key"])
    (folder / "authority.crt").write_text(authority["certificate"])
    digest = layout(folder / "hello", "hello\n")
    artifacts = folder / "artifacts.json"
    artifacts.write_text(json.dumps({"images": {"hello": {"path": str(folder / "hello"), "digest": digest}}}))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program(), "serve", str(folder / "config.yml")], stdout=log, stderr=log, env=environment
        )
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            # Nothing tells that it listens but trying.
            time.sleep(0.05)
        yield Running(
            endpoint=f"127.0.0.1:{port}",
            digest=digest,
            request={
                "endpoint": f"127.0.0.1:{port}",
                "images": {"hello": digest},
                "authority": authority["certificate"],
                "certificate": pusher["certificate"],
                "key": pusher["key"],
            },
            artifacts=artifacts,
            data=folder / "data",
        )
    finally:
        process.terminate()
        process.wait()


def run_push(registry: Running, **changes: object) -> subprocess.CompletedProcess[str]:
    """The program as the stack runs it."""
    return subprocess.run(
        [sys.executable, "jarvis/images/push.py"],
        cwd=ROOT,
        input=json.dumps({**registry.request, **changes}),
        env={**os.environ, "JARVIS_ARTIFACTS": str(registry.artifacts)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


def test_pushed_twice_and_pulled_by_digest(registry: Running, tmp_path: Path) -> None:
    for _ in range(2):
        done = run_push(registry)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == "hello"
    folder = certificates(
        tmp_path / "certificates",
        registry.request["authority"],
        {"certificate": registry.request["certificate"], "key": registry.request["key"]},
    )
    reference = f"docker://{registry.endpoint}/hello@{registry.digest}"
    pulled = skopeo("copy", f"--src-cert-dir={folder}", reference, f"oci:{tmp_path}/pulled")
    assert pulled.returncode == 0, pulled.stderr
    index = json.loads((tmp_path / "pulled" / "index.json").read_text())
    assert index["manifests"][0]["digest"] == registry.digest


@pytest.mark.parametrize("client", ["nobody", "stranger"])
def test_without_a_certificate_of_the_authority_nothing_is_read(
    registry: Running, tmp_path: Path, client: str
) -> None:
    assert run_push(registry).returncode == 0
    other = json.loads(generator.authority({"common_name": "test authority"}))
    folder = certificates(
        tmp_path / "certificates",
        registry.request["authority"],
        None if client == "nobody" else leaf(other, "pusher", server=False),
    )
    refused = skopeo(
        "inspect", f"--cert-dir={folder}", f"docker://{registry.endpoint}/hello@{registry.digest}"
    )
    assert refused.returncode != 0
    assert not refused.stdout
    # The registry ends the connection after its alert; a client still writing may hear only of the end.
    assert re.search(r"remote error: tls: |connection reset by peer|broken pipe", refused.stderr)


def test_another_servers_certificate_is_not_trusted(registry: Running) -> None:
    other = json.loads(generator.authority({"common_name": "other"}))
    refused = run_push(registry, authority=other["certificate"])
    assert refused.returncode == 1
    assert f"error: image hello: not pushed to {registry.endpoint}" in refused.stderr
    assert "x509" in refused.stderr


def test_a_corrupt_layer_is_refused(registry: Running, tmp_path: Path) -> None:
    digest = layout(tmp_path / "broken", "other words\n")
    for blob in (tmp_path / "broken" / "blobs" / "sha256").iterdir():
        if blob.read_bytes()[:2] == b"\x1f\x8b":
            blob.write_bytes(blob.read_bytes()[:-8] + b"corrupt!")
    listing = tmp_path / "artifacts.json"
    listing.write_text(
        json.dumps({"images": {"hello": {"path": str(tmp_path / "broken"), "digest": digest}}})
    )
    with pytest.raises(push.PushError, match="image hello: not pushed"):
        push.push_all({**registry.request, "images": {"hello": digest}}, listing)


def test_neither_key_nor_folder_is_left_behind(
    registry: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[str], dict[str, int]]] = []
    real = subprocess.run

    def watched(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        folder = next(Path(word.partition("=")[2]) for word in words if word.startswith("--dest-cert-dir="))
        modes = {each.name: each.stat().st_mode & 0o777 for each in (folder / "client.key", folder)}
        seen.append((words, {"key": modes["client.key"], "folder": modes[folder.name]}))
        return real(words, **options)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", watched)
    push.push_all(registry.request, registry.artifacts)
    (words, modes), *rest = seen
    assert rest == []
    assert modes == {"key": 0o600, "folder": 0o700}
    assert not any(registry.request["key"] in word for word in words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("listing", "problem"),
    [
        (None, "is not a list of artifacts"),
        ({"images": {}}, "does not have sha256:"),
        ({"images": {"hello": {"path": "/x", "digest": "sha256:0"}}}, "does not have sha256:"),
    ],
)
def test_an_image_that_is_not_built_is_named(
    registry: Running, tmp_path: Path, listing: object, problem: str
) -> None:
    file = tmp_path / "artifacts.json"
    if listing is not None:
        file.write_text(json.dumps(listing))
    with pytest.raises(push.PushError, match=rf"{problem}.*make artifacts"):
        push.push_all(registry.request, file)


def test_a_layer_of_two_images_is_stored_once_and_not_sent_again(registry: Running, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    shutil.copytree(registry.data.parent / "hello", folder)
    layers = read_layers(folder, registry.digest)
    tree = Tree()
    tree.text("second", "its own\n")
    own = pack(tree, blobs_of(folder))
    digest = write_layout(folder, "test", "second", Runtime(user=43, name="y"), [*layers, own])
    listing = json.loads(registry.artifacts.read_text())["images"]
    artifacts = tmp_path / "artifacts.json"
    artifacts.write_text(
        json.dumps({"images": {**listing, "second": {"path": str(folder), "digest": digest}}})
    )
    assert run_push(registry).returncode == 0
    push.push_all({**registry.request, "images": {"second": digest}}, artifacts)
    log = (registry.data.parent / "log").read_text()
    asked = re.findall(
        r'"http.request.method":"(\w+)".*"http.request.uri":"/v2/second/blobs/uploads/([^"]*)"', log
    )
    [shared] = layers
    mounts = [rest for method, rest in asked if method == "POST" and "mount=" in rest]
    assert mounts == [f"?from=hello&mount=sha256%3A{shared.digest.removeprefix('sha256:')}"]
    assert len([rest for method, rest in asked if method == "PATCH"]) == 2, (
        "its own layer and its configuration"
    )
    stored = [path.parent.name for path in registry.data.rglob("blobs/sha256/*/*/data")]
    assert shared.digest.removeprefix("sha256:") in stored
    assert len(stored) == len(set(stored))
