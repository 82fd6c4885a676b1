"""The images themselves: each runs as its own user, which may write nothing but what is given to it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from images import build, load_recipes
from images.layout import blob_path, read_layers
from jarvis.openstack.build.cache import memcached_command
from jarvis.openstack.caching import FOLDER, cache_options
from jarvis.openstack.catalogue import CACHE_PORT as PORT
from jarvis.openstack.configuration import value, variable
from jarvis.pki import generator

PATIENCE_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Unpacked:
    """An image laid out as a root file system, its configuration, and the result of its build."""

    root: Path
    config: dict[str, Any]
    layout: Path

    def words(self, *words: str, **environment: str) -> tuple[list[str], dict[str, str]]:
        """How ``words`` (by default the image's own) run in it as its user, and in what environment."""
        words = words or (*self.config.get("Entrypoint", []), *self.config.get("Cmd", []))
        own = dict(pair.split("=", 1) for pair in self.config["Env"])
        # The program chroot is this machine's, and what it starts is found on the image's own path.
        chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin") or "chroot"
        return [chroot, f"--userspec={self.config['User']}", str(self.root), *words], {**own, **environment}

    def run(self, *words: str, **environment: str) -> str:
        command, variables = self.words(*words, **environment)
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def writable(self, path: str) -> Path:
        """A directory in which the image's user may write, as a volume would be."""
        folder = self.root / path
        folder.mkdir(parents=True, exist_ok=True)
        user = int(self.config["User"].partition(":")[0])
        os.chown(folder, user, user)
        folder.chmod(0o700)
        return folder


def built_tools() -> Mapping[str, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jarvis" / "tools"
    found = sorted(cache.glob("coredns/*/coredns"), key=lambda path: path.stat().st_mtime)
    assert found, "CoreDNS is not built; type: make toolchain"
    return {"coredns": found[-1]}


def unpack(name: str, root: Path) -> Unpacked:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jarvis"
    result = build(cache, built_tools(), [name])[name]
    layout = Path(result["path"])
    for layer in read_layers(layout, result["digest"]):
        with tarfile.open(blob_path(layout, layer.digest)) as archive:
            archive.extractall(root, filter="fully_trusted")
    manifest = json.loads(blob_path(layout, result["digest"]).read_bytes())
    config = json.loads(blob_path(layout, manifest["config"]["digest"]).read_bytes())["config"]
    return Unpacked(root=root, config=config, layout=layout)


@pytest.fixture(scope="module")
def keystone(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    root = tmp_path_factory.mktemp("keystone")
    root.chmod(0o755)
    return unpack("keystone", root)


@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("haproxy", ["/usr/sbin/haproxy", "-v"], "HAProxy version 2.6"),
        ("coredns", ["/usr/bin/coredns", "-version"], "CoreDNS-1."),
        ("memcached", ["/usr/bin/memcached", "--version"], "memcached 1.6"),
        ("pause", ["/usr/bin/catatonit", "--version"], "catatonit"),
    ],
)
def test_the_program_runs(tmp_path: Path, name: str, words: list[str], answer: str) -> None:
    tmp_path.chmod(0o755)
    assert answer in unpack(name, tmp_path).run(*words)


def test_haproxy_takes_a_configuration(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    image = unpack("haproxy", tmp_path)
    (tmp_path / "etc/haproxy/haproxy.cfg").write_text(
        "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
        "resolvers dns\n nameserver one 127.0.0.1:53\n"
        "frontend https\n bind 127.0.0.1:8443\n default_backend service\n"
        "backend service\n server-template node 2 _http._tcp.service.local resolvers dns init-addr none\n"
    )
    image.run("/usr/sbin/haproxy", "-c", "-f", "/etc/haproxy/haproxy.cfg")


@pytest.mark.parametrize("name", sorted(n for n, r in load_recipes().items() if r.published))
def test_nothing_gains_rights_and_only_tmp_is_writable(tmp_path: Path, name: str) -> None:
    unpack(name, tmp_path)
    writable, privileged = [], []
    for folder, folders, files in os.walk(tmp_path):
        for each in (*folders, *files):
            path = Path(folder, each)
            mode = path.lstat().st_mode
            if path.is_symlink():
                continue
            if mode & 0o022 or path.lstat().st_uid != 0:
                writable.append(str(path.relative_to(tmp_path)))
            if mode & 0o6000:
                privileged.append(str(path.relative_to(tmp_path)))
    assert writable == ["tmp"]
    assert privileged == []
    assert not any(
        (tmp_path / shell).exists() for shell in ("bin/sh", "bin/bash", "usr/bin/apt", "usr/bin/dpkg")
    )


def test_every_module_of_keystone_is_compiled_and_the_code_finds_its_libraries(keystone: Unpacked) -> None:
    site = keystone.root / "opt/openstack/lib/python3.11/site-packages"
    sources = [path for path in site.rglob("*.py") if "/templates/" not in str(path)]
    lacking = [
        path
        for path in sources
        if not (path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc").is_file()
    ]
    # Files that are no valid Python of this version cannot be compiled; they are few.
    assert len(sources) > 2000
    assert len(lacking) < 10, lacking
    keystone.run("python3", "-c", "import ssl, sqlite3, lzma, bz2, uuid, ctypes, pymysql, memcache, bcrypt")


def test_glance_reaches_rbd_converts_images_and_is_nobody_special(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    image = unpack("glance", tmp_path)
    program = "import glance.wsgi, rados, rbd, os, wsme; print(os.getuid(), rados.Rados().version().major)"
    assert image.run("python3", "-c", program).split() == ["42427", "3"]
    image.run("qemu-img", "create", "-q", "-f", "raw", "/tmp/disk", "1M")
    image.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "/tmp/disk", "/tmp/converted")
    assert '"format": "qcow2"' in image.run("qemu-img", "info", "--output=json", "/tmp/converted")
    for each in ("glance-api.conf", "glance-api-paste.ini"):
        assert (tmp_path / "etc/glance" / each).is_file()


def glance_of_files(image: Unpacked) -> dict[str, str]:
    """The environment of a Glance with files of its own in place of a storage, and no Keystone yet."""
    for folder in ("volume/images", "volume/staging", "volume/tasks"):
        image.writable(folder)
    return {
        "OS_DEFAULT__ENABLED_BACKENDS": "local:file",
        "OS_GLANCE_STORE__DEFAULT_BACKEND": "local",
        "OS_LOCAL__FILESYSTEM_STORE_DATADIR": "/volume/images",
        "OS_OS_GLANCE_STAGING_STORE__FILESYSTEM_STORE_DATADIR": "/volume/staging",
        "OS_OS_GLANCE_TASKS_STORE__FILESYSTEM_STORE_DATADIR": "/volume/tasks",
        "OS_DATABASE__CONNECTION": "sqlite:////volume/images/glance.db",
        "OS_PASTE_DEPLOY__FLAVOR": "keystone",
        "OS_WSGI__PYTHON_INTERPRETER": "/opt/openstack/bin/python3",
    }


def test_glance_says_so_where_keystone_cannot_be_asked(tmp_path: Path) -> None:
    """And takes no token for a wrong one, which a client would not try again."""
    tmp_path.chmod(0o755)
    image = unpack("glance", tmp_path)
    port, nobody = free_ports(2)
    environment = {
        **glance_of_files(image),
        "OS_KEYSTONE_AUTHTOKEN__AUTH_TYPE": "password",
        "OS_KEYSTONE_AUTHTOKEN__AUTH_URL": f"http://127.0.0.1:{nobody}/v3",
        "OS_KEYSTONE_AUTHTOKEN__USERNAME": "glance",
        "OS_KEYSTONE_AUTHTOKEN__PASSWORD": "abc",
    }
    with serving(image, port, environment) as server:
        asked = [
            ask(server, f"http://127.0.0.1:{port}{path}", headers)[0]
            for path, headers in (
                ("/healthcheck", {}),
                ("/", {}),
                ("/v2/images", {}),
                ("/v2/images", {"X-Auth-Token": "abc"}),
            )
        ]
    assert asked == [200, 300, 401, 503]


def test_options_that_glance_reads_from_groups_of_its_own_are_listed() -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jarvis"
    groups = json.loads(Path(build(cache, {}, ["glance"])["glance"]["options"]).read_text())["groups"]
    assert groups["rbd"]["rbd_store_chunk_size"]["type"] == "integer value"
    for group in ("keystone_authtoken", "oslo_limit"):
        assert groups[group]["password"]["secret"] is True
        assert {"auth_type", "auth_url", "username", "user_domain_name"} <= groups[group].keys()
    assert groups["DEFAULT"]["enabled_backends"]["multi"] is False


def test_the_option_list_is_that_of_the_code(keystone: Unpacked) -> None:
    listing = json.loads((keystone.layout / "options.json").read_text())
    assert listing["groups"]["database"]["connection"]["secret"] is True
    assert listing["groups"]["fernet_tokens"]["max_active_keys"]["type"] == "integer value"
    dashboards = listing["groups"]["federation"]["trusted_dashboard"]
    assert (dashboards["multi"], dashboards["type"]) == (True, "string value")
    assert "max_active_keyz" not in listing["groups"]["fernet_tokens"]


def migrated_keystone(keystone: Unpacked) -> dict[str, str]:
    """The environment of a Keystone with a database and keys of its own, and nothing in it yet."""
    for folder in ("volume/keys", "volume/credentials", "volume/data"):
        keystone.writable(folder)
    environment = {
        "OS_DATABASE__CONNECTION": "sqlite:////volume/data/keystone.db",
        "OS_FERNET_TOKENS__KEY_REPOSITORY": "/volume/keys",
        "OS_FERNET_RECEIPTS__KEY_REPOSITORY": "/volume/keys",
        "OS_CREDENTIAL__KEY_REPOSITORY": "/volume/credentials",
    }
    for words in (["db_sync"], ["fernet_setup"], ["credential_setup"]):
        keystone.run("keystone-manage", *words, **environment)
    return environment


def deployed_keystone(keystone: Unpacked) -> dict[str, str]:
    """The environment of a Keystone with a database of its own, whose administrator is ``ADMIN``."""
    environment = migrated_keystone(keystone)
    where = ("--bootstrap-region-id", "one", "--bootstrap-public-url", "http://127.0.0.1:5000/v3")
    keystone.run("keystone-manage", "bootstrap", *where, **environment, OS_BOOTSTRAP_PASSWORD="abc")
    return environment


@pytest.fixture(scope="module")
def deployed(keystone: Unpacked) -> dict[str, str]:
    """The environment of the module's Keystone, once it is deployed."""
    return deployed_keystone(keystone)


ADMIN = {"name": "admin", "domain": {"id": "default"}, "password": "abc"}
LOGIN = {"auth": {"identity": {"methods": ["password"], "password": {"user": ADMIN}}}}


def log_in(server: subprocess.Popen[str], url: str) -> str:
    """A token of the administrator."""
    headers = {"Content-Type": "application/json"}
    status, answer = ask(server, f"{url}/v3/auth/tokens", headers, json.dumps(LOGIN).encode())
    assert status == 201
    return str(answer["X-Subject-Token"])


def test_keystone_issues_a_token_configured_by_its_environment_alone(
    keystone: Unpacked, deployed: dict[str, str]
) -> None:
    (port,) = free_ports(1)
    with serving(keystone, port, deployed) as server:
        assert log_in(server, f"http://127.0.0.1:{port}").startswith("gAAAA"), "a Fernet token"


def test_keystone_keeps_what_it_read_in_its_memcached_and_goes_on_without(
    keystone: Unpacked, deployed: dict[str, str], tmp_path: Path
) -> None:
    """By the very options and the very command that the component has, and nobody without a certificate."""
    tmp_path.chmod(0o755)
    image = unpack("memcached", tmp_path)
    port, kept = free_ports(2)
    signer = json.loads(generator.authority({"common_name": "cache", "generation": 0}))
    client, own = (
        json.loads(
            generator.generate(
                {
                    "kind": "certificate",
                    "authority": {"common_name": "cache", "key": signer["key"]},
                    "common_name": "one",
                    "organizations": [],
                    "dns_names": [],
                    # The image alone, outside a pod, knows no name.
                    "addresses": ["127.0.0.1"],
                    "client": not server,
                    "server": server,
                }
            )
        )
        for server in (False, True)
    )
    for root, name, pair in ((keystone.root, "client", client), (image.root, "server", own)):
        folder = root / FOLDER.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "ca.pem").write_text(signer["certificate"])
        (folder / f"{name}.pem").write_text(pair["certificate"])
        (folder / f"{name}.key").write_text(pair["key"])
    options = {variable(name): value(each) for name, each in cache_options("127.0.0.1").items()}
    options["OS_CACHE__MEMCACHE_SERVERS"] = f"127.0.0.1:{kept}"
    command, variables = image.words(*(word.replace(str(PORT), str(kept)) for word in memcached_command()))
    trust = ssl.create_default_context(cafile=str(image.root / FOLDER.lstrip("/") / "ca.pem"))
    with serving(keystone, port, {**deployed, **options}) as server:
        memcached = subprocess.Popen(command, env=variables)
        try:
            url = f"http://127.0.0.1:{port}"
            token = log_in(server, url)
            headers = {"X-Auth-Token": token, "X-Subject-Token": token}
            assert ask(server, f"{url}/v3/auth/tokens", headers)[0] == 200
            with pytest.raises(OSError, match=r"(?i)alert|reset|closed|eof"):
                statistics(kept, trust)
            certificate = keystone.root / FOLDER.lstrip("/")
            trust.load_cert_chain(certificate / "client.pem", certificate / "client.key")
            assert int(statistics(kept, trust)["curr_items"]) > 5
        finally:
            memcached.terminate()
            memcached.wait(PATIENCE_SECONDS)
        assert ask(server, f"{url}/v3/auth/tokens", headers)[0] == 200


def statistics(port: int, trust: ssl.SSLContext) -> dict[str, str]:
    """What memcached counts. Raises ``OSError`` where it does not let the client in."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as raw,
        trust.wrap_socket(raw, server_hostname="127.0.0.1") as stream,
    ):
        stream.sendall(b"stats\r\n")
        text = b""
        while not text.endswith(b"END\r\n"):
            more = stream.recv(65536)
            if not more:
                raise ConnectionError("closed")
            text += more
    return dict(line.split()[1:3] for line in text.decode().splitlines() if line.startswith("STAT"))


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 where nobody listens."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            found.append(int(one.getsockname()[1]))
    return found


@contextmanager
def serving(image: Unpacked, port: int, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The image's own command, listening on ``port``."""
    words = ["uwsgi", "--http-socket", f"127.0.0.1:{port}", *image.config["Cmd"][3:]]
    command, variables = image.words(*words, **environment)
    server = subprocess.Popen(
        command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield server
    finally:
        server.terminate()
        server.communicate(timeout=PATIENCE_SECONDS)


def ask(
    server: subprocess.Popen[str], url: str, headers: Mapping[str, str], body: bytes | None = None
) -> tuple[int, Message]:
    """Status and headers of the answer to a request, which is made again until the server listens."""
    request = urllib.request.Request(url, body, dict(headers))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
                return answer.status, answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.headers
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, server.stderr.read() if server.stderr else ""
            assert time.monotonic() < deadline
            # Nothing tells that it listens but trying.
            time.sleep(0.1)
