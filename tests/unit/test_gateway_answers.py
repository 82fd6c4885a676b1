"""What a gateway answers by itself: HAProxy with its own configuration, before a pod that is not well."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.test_gateway import GLANCE, KEYSTONE, _config

PATIENCE_SECONDS = 30
# In which a client must have sent its request; ten in a real gateway.
SLOW_SECONDS = 2
VERSIONS = ("--http1.1", "--http2")


@dataclass
class Pod:
    """Takes requests, and closes without an answer. ``seen``: their first lines, without checks of health."""

    seen: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __post_init__(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.listener.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                line = connection.recv(65536).partition(b"\r\n")[0].decode()
                if "/healthcheck" in line:
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    connection.sendall(head)
                elif line:
                    self.seen.append(line)


@dataclass
class Gateway:
    """A running HAProxy. ``port``: of its clients. ``pod``: Keystone's, twice over; Glance has none."""

    port: int
    pod: Pod
    log: Path

    def ask(self, *words: str, host: str = KEYSTONE.host) -> list[tuple[int, dict[str, str], str]]:
        """Status, headers and body of the answers to what curl asks for ``words``, by one connection."""
        run = subprocess.run(
            ["curl", "--silent", "--insecure", "--include", "--max-time", str(PATIENCE_SECONDS),
             "--resolve", f"{host}:{self.port}:127.0.0.1", *words],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, (run.returncode, run.stdout)
        answers = []
        for text in re.split(r"(?=HTTP/\d(?:\.\d)? \d{3})", run.stdout.replace("\r", ""))[1:]:
            head, _, body = text.partition("\n\n")
            first, *lines = head.splitlines()
            headers = dict(line.lower().split(": ", 1) for line in lines)
            answers.append((int(first.split()[1]), headers, body))
        return answers

    def url(self, path: str, host: str = KEYSTONE.host) -> str:
        return f"https://{host}:{self.port}{path}"

    def lines(self, request_id: str) -> list[dict[str, object]]:
        """What the log has of a request."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if request_id in line]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("gateway")
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert haproxy, "haproxy is missing; it is in toolchain/apt.txt: make toolchain"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    words += ["-keyout", str(folder / "key"), "-out", str(folder / "certificate"), "-subj", "/CN=x"]
    subprocess.run(words, check=True, capture_output=True)
    pem = folder / "server.pem"
    pem.write_text((folder / "certificate").read_text() + (folder / "key").read_text())
    pod = Pod()
    with socket.create_server(("127.0.0.1", 0)) as held, socket.create_server(("127.0.0.1", 0)) as other:
        port, internal = int(held.getsockname()[1]), int(other.getsockname()[1])
    servers = "".join(f"server keystone-{n} 127.0.0.1:{pod.port} check\n    " for n in (1, 2))
    text = _config(KEYSTONE, GLANCE)
    for pattern, instead in (
        ("/run/haproxy/server.pem", str(pem)),
        ("bind :8443", f"bind 127.0.0.1:{port}"),
        ("bind :8404", f"bind 127.0.0.1:{internal}"),
        # The name of a socket, which another run on this machine may have as well.
        ("abns@requests", f"abns@requests-{port}"),
        (r"server-template keystone- .*", servers),
        (r"server-template glance- .*", ""),
        ("timeout http-request 10s", f"timeout http-request {SLOW_SECONDS}s"),
    ):
        text, count = re.subn(pattern, instead, text)
        assert count, pattern
    (folder / "haproxy.cfg").write_text(text)
    log = folder / "log"
    with log.open("w") as stream:
        process = subprocess.Popen([haproxy, "-db", "-f", str(folder / "haproxy.cfg")], stdout=stream)
    found = Gateway(port, pod, log)
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                # Nothing tells that it listens but trying.
                time.sleep(0.1)
        yield found
    finally:
        process.kill()
        process.wait()
        pod.listener.close()


def _told(answer: tuple[int, dict[str, str], str]) -> str:
    """The id of an answer in JSON that has it everywhere."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    error = json.loads(body)["error"]
    assert error["code"] == status
    assert error["title"]
    assert error["message"]
    assert error["request_id"] == headers["x-request-id"]
    return str(error["request_id"])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("body", [[], ["--data", "x"]])
def test_a_pod_that_closes_without_an_answer_is_answered_for_and_asked_once(
    gateway: Gateway, version: str, body: list[str]
) -> None:
    """The second request of a connection, too, and whatever it is."""
    paths = ["/v3/auth/tokens", "/v3/users"]
    before = len(gateway.pod.seen)
    answers = gateway.ask(version, *body, *(gateway.url(path) for path in paths))
    assert [status for status, _, _ in answers] == [502, 502]
    assert len(gateway.pod.seen) - before == len(paths)
    for answer, path in zip(answers, paths, strict=True):
        [line] = gateway.lines(_told(answer))
        assert (line["status"], line["path"], line["retries"]) == (502, path, "0")


def test_who_sends_a_body_slowly_holds_no_pod(gateway: Gateway) -> None:
    before = len(gateway.pod.seen)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=KEYSTONE.host) as stream,
    ):
        head = f"POST /v3/auth/tokens HTTP/1.1\r\nHost: {KEYSTONE.host}\r\nContent-Length: 9\r\n\r\n"
        stream.sendall(head.encode() + b"{")
        answer = stream.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code": 408' in answer
    assert len(gateway.pod.seen) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_without_a_pod_is_worth_asking_again(gateway: Gateway, version: str) -> None:
    [answer] = gateway.ask(version, gateway.url("/v2/images", GLANCE.host), host=GLANCE.host)
    assert answer[0] == 503
    assert int(answer[1]["retry-after"]) > 0
    assert len(gateway.lines(_told(answer))) == 1


def test_a_name_that_no_service_has_is_told_so_by_the_id_that_the_client_gave(gateway: Gateway) -> None:
    given = "req-01234567-89ab-cdef-0123-456789abcdef"
    [answer] = gateway.ask(
        "--header", f"X-Openstack-Request-Id: {given}", gateway.url("/", "x.org"), host="x.org"
    )
    assert (answer[0], _told(answer)) == (404, given)
    assert len(gateway.lines(given)) == 1


def test_what_is_no_request_has_its_line_too(gateway: Gateway) -> None:
    """HAProxy 2.6 answers it in HTML, which is compiled into it."""
    before = len(gateway.lines("no request came of a connection"))
    [answer] = gateway.ask("--http1.1", "--header", "Content-Length: abc", gateway.url("/v3"))
    assert answer[0] == 400
    assert len(gateway.lines("no request came of a connection")) == before + 1
