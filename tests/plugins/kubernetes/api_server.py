"""A real control plane without nodes: etcd, kube-apiserver, kube-controller-manager on loopback.

A node exists by name alone: `kubelet` plays its part.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

START_SECONDS = 120
TOKEN = "a-token-of-the-tests"
NODE = "node"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """Wait for the condition to be true (or not empty), and return it; fail when it does not come about."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)  # The interval of a poll, not what is waited for.
    return found


def kubeconfig(port: int, user: str = "admin") -> str:
    """The content of an administrator's kubeconfig for an API on this port."""
    server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": user, "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
    )


class ApiServer:
    """A control plane in a folder of its own.

    Args:
        folder: of all its files.
        tools: the folder with what was built for Pulumi.
        policy: the file with the audit policy; by default everything is noted, without bodies.
        flags: of the API server, further ones.
        users: those who come with their own name as token, each with its groups.

    Attributes:
        port: of the API, on 127.0.0.1.
        kubeconfig: its content, of an administrator.
        audit: the file with one line a request.
    """

    def __init__(
        self,
        folder: Path,
        tools: Path,
        *,
        policy: Path | None = None,
        flags: Sequence[str] = (),
        users: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.folder, self._tools = folder, tools
        self._policy, self._flags, self._users = policy, flags, users or {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.port = free_port()
        self.audit = folder / "audit.log"
        self._kubectl = self._tool("kubectl")
        self.kubeconfig = kubeconfig(self.port)

    def _tool(self, name: str) -> str:
        cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jarvis" / "tools"
        built = sorted(cache.glob(f"*/*/{name}"), key=lambda path: path.stat().st_mtime)
        found = shutil.which(name, path=f"{self._tools}:{os.environ.get('PATH', os.defpath)}")
        if found is None and built:
            found = str(built[-1])
        assert found is not None, f"no {name} here; make it with: make tools"
        return found

    def start(self) -> None:
        """Start everything and wait until the API is ready."""
        etcd, peer = free_port(), free_port()
        keys = self.folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", str(keys), "2048"], check=True, capture_output=True)
        others = [f'{user},{user},{user},"{",".join(groups)}"\n' for user, groups in self._users.items()]
        (self.folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n" + "".join(others))
        (self.folder / "audit.yaml").write_text(
            json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]})
        )
        (self.folder / "kubeconfig").write_text(self.kubeconfig)
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{etcd}",
            f"--advertise-client-urls=http://127.0.0.1:{etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        )
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder / 'certificates'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://test",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--endpoint-reconciler-type=none",
            f"--audit-policy-file={self._policy or self.folder / 'audit.yaml'}",
            f"--audit-log-path={self.audit}",
            *self._flags,
        )
        until(lambda: self._status("get", "--raw=/readyz") == 0)
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.folder / 'kubeconfig'}",
            f"--service-account-private-key-file={keys}",
            "--use-service-account-credentials=false",
            "--leader-elect=false",
            "--secure-port=0",
            # Nobody renews the node's lease, and its pods shall live on.
            "--controllers=*,-node-lifecycle-controller",
        )
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": NODE}})
        until(lambda: self._status("get", "serviceaccount", "default") == 0)

    def _run(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        self._processes.append(
            subprocess.Popen([self._tool(name), *arguments], stdout=log, stderr=log, cwd=self.folder)
        )
        log.close()

    def stop(self) -> None:
        """Stop what was started, the API before its store."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, *arguments: str) -> list[str]:
        return [self._kubectl, f"--kubeconfig={self.folder / 'kubeconfig'}", *arguments]

    def _status(self, *arguments: str) -> int:
        return subprocess.run(self._command(*arguments), capture_output=True, check=False).returncode

    def kubectl(self, *arguments: str) -> str:
        """Run kubectl; what it printed."""
        done = subprocess.run(self._command(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, user: str, method: str, path: str, body: Any = None) -> int:
        """The status of the answer to one request of ``user``, one of ``users``."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {user}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def call(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Any:
        """One request to the API; the answer, or None for an object that is not there."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": content},
        )
        try:
            with urllib.request.urlopen(request, context=ssl._create_unverified_context()) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def get(self, path: str) -> Any:
        """The object at "apps/v1 deployments web [namespace]", or None; without a name the list's items."""
        version, kind, name, *namespace = [*path.split(), ""][:4]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        inside = f"/namespaces/{namespace[0]}" if namespace and namespace[0] else ""
        return self.call("GET", f"{root}{inside}/{kind}/{name}")

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """The namespace's pods."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
        return found

    def set_pod(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        """Say of a pod what a node's kubelet would."""
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        self.call("PATCH", path, {"status": status}, "application/merge-patch+json")

    @contextmanager
    def kubelet(self, namespace: str) -> Iterator[None]:
        """While the block runs, pods run, those of Jobs succeed, and those deleted go."""
        stop = threading.Event()

        def play() -> None:
            while not stop.wait(0.1):
                for pod in self.pods(namespace):
                    self._live(pod)

        thread = threading.Thread(target=play)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _live(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        if metadata.get("deletionTimestamp"):
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            self.call("DELETE", path, {"gracePeriodSeconds": 0})
            return
        if not pod["spec"].get("nodeName"):
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/binding"
            self.call(
                "POST",
                path,
                {"metadata": {"name": metadata["name"]}, "target": {"kind": "Node", "name": NODE}},
            )
        ends = "job-name" in metadata.get("labels", {})
        phase = "Succeeded" if ends else "Running"
        if pod["status"].get("phase") != phase:
            ready = {"type": "Ready", "status": "False" if ends else "True"}
            address = {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}
            self.set_pod(pod, {"phase": phase, "conditions": [ready], **address})

    def requests(self) -> list[dict[str, Any]]:
        """The audit log: all requests so far that were answered."""
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        events = [json.loads(line) for line in lines]
        return [event for event in events if event["stage"] == "ResponseComplete"]
