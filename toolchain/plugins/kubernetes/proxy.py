"""`kubectl proxy` on a unix socket: kubectl's authentication and TLS, paid for once a process.

A kubectl process a request would cost a tenth of a second of processor each. The proxy listens in a folder
only we can enter, gets its kubeconfig through an anonymous file (no key on disk, argv or environment), and is
killed by the kernel when the plugin dies.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import threading
import time
from pathlib import Path

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.common.sockets import socket_folder

_START_SECONDS = 30.0
_STOP_SECONDS = 2.0


class Proxy:
    """One `kubectl proxy`, started at first use and again if it ends.

    Args:
        kubeconfig: the content of a kubeconfig; None: kubectl's own default ($KUBECONFIG, ~/.kube/config).
        context: a context of it; None: its current one.
        cluster: a cluster of it instead of the context's.
    """

    def __init__(
        self, kubeconfig: str | None, context: str | None = None, cluster: str | None = None
    ) -> None:
        self._kubeconfig, self._context, self._cluster = kubeconfig, context, cluster
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._closed = False

    def socket(self) -> str:
        """The path of the socket that the running proxy answers at.

        Raises:
            ProviderError: kubectl is missing, or does not start with this kubeconfig.
        """
        with self._lock:
            if self._closed:
                raise ProviderError("the kubernetes plugin is stopping")
            if self._process is None or self._process.poll() is not None:
                self._start()
            assert self._folder is not None
            return str(self._folder / "socket")

    def _start(self) -> None:
        kubectl = shutil.which("kubectl")
        if kubectl is None:
            raise ProviderError("kubectl is not on PATH: run `make tools`, then `. .jarvis/env`")
        self._remove()
        folder = socket_folder("jarvis-kubernetes")
        self._folder = folder
        command = [kubectl, "proxy", f"--unix-socket={folder / 'socket'}", "--reject-paths=^$"]
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            command = [setpriv, "--pdeathsig", "KILL", *command]
        for flag, value in (("context", self._context), ("cluster", self._cluster)):
            if value:
                command.append(f"--{flag}={value}")
        descriptor = None
        try:
            if self._kubeconfig is not None:
                descriptor = os.memfd_create("kubeconfig")
                os.write(descriptor, self._kubeconfig.encode())
                # Opened anew through /proc it is read from its beginning, as often as kubectl likes.
                command.append(f"--kubeconfig=/proc/self/fd/{descriptor}")
            with (folder / "errors").open("wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    pass_fds=[] if descriptor is None else [descriptor],
                    # A terminal's Ctrl-C is the engine's to handle: it lets the plugin finish its work.
                    start_new_session=True,
                    umask=0o077,
                )
        finally:
            if descriptor is not None:
                os.close(descriptor)
        self._await_start(self._process, folder)

    def _await_start(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        assert process.stdout is not None
        end = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            started = bool(selector.select(max(0.0, end - time.monotonic()))) and process.stdout.readline()
        if not started:
            process.kill()
            process.wait()
            text = (folder / "errors").read_text(errors="replace").strip()
            self._process = None
            raise ProviderError(
                f"kubectl proxy did not start; check the provider's kubeconfig: {text[-2000:]}"
            )

    def close(self) -> None:
        """Stop the proxy for good."""
        with self._lock:
            self._closed = True
            self._remove()

    def _remove(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None
        if self._folder is not None:
            with contextlib.suppress(OSError):
                shutil.rmtree(self._folder)
            self._folder = None
