"""The proxy process: private, without a key on disk or in its arguments, gone with the plugin."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from api_server import ApiServer, until

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.provider import Cancellation
from toolchain.plugins.kubernetes.client import ApiError, Client, KindMissing, SocketTransport
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.proxy import Proxy


def test_socket_is_private_and_no_credential_shows(
    api_server: ApiServer, monkeypatch: pytest.MonkeyPatch, pulumi_tools: Path
) -> None:
    monkeypatch.setenv("PATH", f"{pulumi_tools}{os.pathsep}{os.environ['PATH']}")
    proxy = Proxy(api_server.kubeconfig)
    try:
        path = Path(proxy.socket())
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
        assert proxy._process is not None
        process = Path(f"/proc/{proxy._process.pid}")
        shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        assert b"a-token-of-the-tests" not in shown
        assert {entry.name for entry in path.parent.iterdir()} == {"socket", "errors"}

        client = Client(SocketTransport(proxy.socket), Cancellation())
        assert client.request("GET", "/version")["gitVersion"].startswith("v1.")
        with pytest.raises(ApiError) as caught:
            client.request("GET", "/api/v1/namespaces/default/configmaps/none")
        assert (caught.value.status, caught.value.reason) == (404, "NotFound")
        with pytest.raises(KindMissing, match="CustomResourceDefinition first"):
            client.path(Kind("no.example/v1", "Thing"), "default")

        # A proxy that ended is started again.
        proxy._process.kill()
        proxy._process.wait()
        assert client.request("GET", "/version")
    finally:
        proxy.close()
    assert not path.parent.exists()
    with pytest.raises(ProviderError, match="stopping"):
        proxy.socket()


def test_it_dies_with_its_plugin(api_server: ApiServer, pulumi_tools: Path) -> None:
    code = (
        "import sys; from toolchain.plugins.kubernetes.proxy import Proxy; p = Proxy(sys.stdin.readline());"
        "p.socket(); print(p._process.pid, flush=True); sys.stdin.read()"
    )
    environment = {**os.environ, "PATH": f"{pulumi_tools}{os.pathsep}{os.environ['PATH']}"}
    plugin = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=Path(__file__).resolve().parents[3],
    )
    assert plugin.stdin is not None
    assert plugin.stdout is not None
    plugin.stdin.write(api_server.kubeconfig + "\n")
    plugin.stdin.flush()
    child = int(plugin.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    plugin.send_signal(signal.SIGKILL)
    plugin.wait()
    until(lambda: not Path(f"/proc/{child}").exists() or "\nState:\tZ" in _status(child))


def _status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "\nState:\tZ"
