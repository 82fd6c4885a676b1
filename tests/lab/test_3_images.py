"""A day's work with images, from outside, through the gateway, by OpenStack's own client and qemu-img."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployment import OPENSTACK, Cloud, wait_until

SIZE = 1 << 30
# A pod that buffered the upload would need as much as the image has.
MEMORY_LIMIT = SIZE // 2
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("images")
    yield folder
    shutil.rmtree(folder)


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha512").hexdigest()


def glance_pods(cloud: Cloud) -> list[dict[str, Any]]:
    selector = "app.kubernetes.io/name=glance,app.kubernetes.io/component=api"
    return cloud.objects("pods", "-n", "openstack", "-l", selector)


def held(cloud: Cloud, pod: str) -> int:
    """The most memory that any process of a pod has held, in bytes."""
    program = (
        "import glob, re; print(max(int(re.search(r'VmHWM:\\s+(\\d+)', open(f).read())[1])"
        " for f in glob.glob('/proc/[0-9]*/status')))"
    )
    return 1024 * int(cloud.kubectl("exec", "-n", "openstack", pod, "--", "python3", "-c", program))


def test_an_image_of_a_gibibyte_comes_back_as_it_went(cloud: Cloud, folder: Path) -> None:
    source, back = folder / "source", folder / "back"
    block = os.urandom(1 << 20)
    with source.open("wb") as stream:
        for number in range(SIZE // len(block)):
            stream.write(number.to_bytes(8, "big") + block[8:])
    made = cloud.shown("image", "create", "--disk-format", "raw", "--file", str(source), "large")
    shown = cloud.shown("image", "show", made["id"])
    assert (shown["status"], shown["size"]) == ("active", SIZE)
    assert shown["properties"]["os_hash_value"] == digest(source)
    cloud.tool(*OPENSTACK, "image", "save", "--file", str(back), made["id"])
    assert digest(back) == digest(source)
    for pod in glance_pods(cloud):
        assert held(cloud, pod["metadata"]["name"]) < MEMORY_LIMIT
    cloud.tool(*OPENSTACK, "image", "delete", made["id"])
    assert made["id"] not in [one["ID"] for one in cloud.shown("image", "list")]


def test_a_body_without_a_length_is_streamed_too(cloud: Cloud, folder: Path) -> None:
    """By HTTP/1.1 in chunks, from a client that does not know how much there will be."""
    token = cloud.shown("token", "issue")["id"]
    source = folder / "chunked"
    source.write_bytes(os.urandom(8 << 20))
    images = f"https://{cloud.virtual_address}/image/v2/images"
    request = urllib.request.Request(
        images,
        json.dumps({"name": "chunked", "disk_format": "raw", "container_format": "bare"}).encode(),
        {"X-Auth-Token": token, "Content-Type": "application/json"},
    )
    tls = ssl.create_default_context(cafile=str(cloud.authority))
    with urllib.request.urlopen(request, timeout=120, context=tls) as answer:
        made = json.loads(answer.read())
    url = f"{images}/{made['id']}/file"
    headers = folder / "headers"
    headers.touch(mode=0o600)
    headers.write_text(
        f"X-Auth-Token: {token}\nContent-Type: application/octet-stream\nTransfer-Encoding: chunked\n"
    )
    with source.open("rb") as stream:
        sent = subprocess.run(
            ["curl", "--silent", "--http1.1", "--max-time", "120", "--cacert", str(cloud.authority),
             "--header", f"@{headers}", "--upload-file", "-", "--write-out", "%{http_code}", url],
            stdin=stream, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
    assert sent.stdout == "204", sent.stdout + sent.stderr
    shown = cloud.shown("image", "show", made["id"])
    assert shown["properties"]["os_hash_value"] == digest(source)
    cloud.tool(*OPENSTACK, "image", "delete", made["id"])


def test_an_image_is_shared_with_another_project(cloud: Cloud, folder: Path) -> None:
    source = folder / "small"
    source.write_bytes(os.urandom(1 << 16))
    project = cloud.shown("project", "create", "guests")["id"]
    made = cloud.shown("image", "create", "--shared", "--disk-format", "raw", "--file", str(source), "shared")
    cloud.tool(*OPENSTACK, "image", "add", "project", made["id"], project)
    cloud.tool(*OPENSTACK, "image", "set", "--accept", "--project", project, made["id"])
    [member] = cloud.shown("image", "member", "list", made["id"])
    assert (member["Member ID"], member["Status"]) == (project, "accepted")
    cloud.tool(*OPENSTACK, "image", "delete", made["id"])
    cloud.tool(*OPENSTACK, "project", "delete", project)


def test_an_imported_image_is_converted(cloud: Cloud, folder: Path) -> None:
    """Whichever pod it was staged in, and whichever is asked to import it: each several times."""
    raw, source = folder / "disk.raw", folder / "disk.qcow2"
    raw.write_bytes(os.urandom(1 << 20) + bytes(15 << 20))
    # The lab's servers have qemu-img by no means of ours; the image of Glance has.
    pod = glance_pods(cloud)[0]["metadata"]["name"]
    program = (
        "import subprocess, sys; open('/tmp/a', 'wb').write(sys.stdin.buffer.read());"
        " subprocess.run(['qemu-img', 'convert', '-O', 'qcow2', '/tmp/a', '/tmp/b'], check=True);"
        " sys.stdout.buffer.write(open('/tmp/b', 'rb').read())"
    )
    with raw.open("rb") as given, source.open("wb") as made:
        subprocess.run(
            ["kubectl", "exec", "-i", "-n", "openstack", pod, "--", "python3", "-c", program],
            env=cloud.stack.workspace.environment(), stdin=given, stdout=made, check=True, timeout=120,
        )  # fmt: skip
    for number in range(4):
        name = f"imported-{number}"
        words = ("--disk-format", "qcow2", "--import", "--file", str(source), name)
        cloud.tool(*OPENSTACK, "image", "create", *words)
        wait_until(
            f"{name} is imported",
            lambda name=name: cloud.shown("image", "show", name)["status"] == "active",
            PATIENCE_SECONDS,
        )
        assert cloud.shown("image", "show", name)["disk_format"] == "raw"
        cloud.tool(*OPENSTACK, "image", "save", "--file", str(folder / name), name)
        assert digest(folder / name) == digest(raw)
        cloud.tool(*OPENSTACK, "image", "delete", name)


def test_a_project_has_no_more_than_its_limit(cloud: Cloud) -> None:
    project = cloud.shown("project", "create", "few")["id"]
    words = ("--project", project, "--service", "glance", "--region", "RegionOne", "--resource-limit", "0")
    limit = cloud.shown("limit", "create", *words, "image_count_total")["id"]
    cloud.tool(*OPENSTACK, "role", "add", "--project", project, "--user", "admin", "member")
    refused = cloud.tool(
        *OPENSTACK, "--os-project-id", project, "--os-project-name", "",
        "image", "create", "--disk-format", "raw", "one-too-many", check=False,
    )  # fmt: skip
    assert refused.returncode != 0
    assert "image_count_total" in refused.stdout + refused.stderr
    cloud.tool(*OPENSTACK, "limit", "delete", limit)
    cloud.tool(*OPENSTACK, "project", "delete", project)
