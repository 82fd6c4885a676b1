"""The configuration of containerd, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from jarvis.core.text import fill_beside

FOLDER = "/etc/containerd"
REGISTRY_NAME = "registry.jarvis.internal"


def containerd_config(pause_image: str, *, restrict_oom_score_adj: bool) -> str:
    """The file config.toml of containerd.

    Args:
        pause_image: reference of every pod's first container.
        restrict_oom_score_adj: for a server that may not lower oom_score_adj.
    """
    return fill_beside(
        __file__,
        "containerd.toml",
        pause=pause_image,
        restrict="true" if restrict_oom_score_adj else "false",
        folder=FOLDER,
    )


def registry_hosts(addresses: Sequence[str], port: int) -> str:
    """The file hosts.toml of the registry: servers with the same images, tried in order.

    Args:
        addresses: addresses of the servers, the first to be tried first.
        port: port of the registry on each of them.
    """
    folder = f"{FOLDER}/certs.d/{REGISTRY_NAME}"
    servers = [f"https://{address}:{port}" for address in addresses]
    tables = [
        f'[host."{server}"]\n'
        '  capabilities = ["pull", "resolve"]\n'
        f'  ca = "{folder}/ca.crt"\n'
        f'  client = [["{folder}/client.crt", "{folder}/client.key"]]\n'
        '  dial_timeout = "3s"\n'
        for server in servers
    ]
    return "\n".join([f'server = "{servers[0]}"\n', *tables])
