"""A probe of processes that take their work from the queue: whether one of this pod has a connection to it.

The kubelet starts it every few seconds, in an image that has no shell: so it needs the standard library
alone, and the environment that the process has (``OS_DEFAULT__TRANSPORT_URL``).

It ends with 1 where the queue takes connections and no process has one. While the queue takes none it ends
with 0: another start would mend nothing, and all processes would still start when the queue is back.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

# Seconds for the queue's handshake. The kubelet gives the probe ten.
_PATIENCE = 5
# How Linux calls an established connection (proc(5), /proc/net/tcp).
_ESTABLISHED = "01"


def main() -> int:
    """The status that the probe ends with."""
    url = urlsplit(os.environ["OS_DEFAULT__TRANSPORT_URL"])
    host, port = url.hostname or "", url.port or 5671
    if connected(port):
        return 0
    if not reachable(host, port):
        return 0
    print(f"no process has a connection to {host}:{port}, which takes one", file=sys.stderr)
    return 1


def connected(port: int, proc: Path = Path("/proc")) -> bool:
    """Whether a process has an established connection to ``port``. Those of other users do not count."""
    sockets = {f"socket:[{inode}]" for inode in established(port, proc)}
    return bool(sockets) and any(link in sockets for link in opened(proc))


def established(port: int, proc: Path) -> Iterator[str]:
    """The inodes of the established connections to ``port`` of this network namespace."""
    for name in ("tcp", "tcp6"):
        try:
            lines = (proc / "self/net" / name).read_text().splitlines()[1:]
        except OSError:
            # A kernel without IPv6.
            continue
        for line in lines:
            _, _, remote, state, *rest = line.split()
            if state == _ESTABLISHED and int(remote.rpartition(":")[2], 16) == port:
                yield rest[5]


def opened(proc: Path) -> Iterator[str]:
    """What the processes of this container have open, as links in their folder ``fd``."""
    for folder in proc.glob("[0-9]*/fd"):
        try:
            yield from [os.readlink(each) for each in folder.iterdir()]
        except OSError:
            # It has ended, or is of another user.
            continue


def reachable(host: str, port: int) -> bool:
    """Whether a server at ``port`` shakes hands by TLS: the proxy before the queue accepts without one."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # No secret is told, and the process itself checks who answers.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((host, port), timeout=_PATIENCE) as raw,
            context.wrap_socket(raw, server_hostname=host),
        ):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main())
