"""containerd's configuration, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from jarvis.core.text import fill_beside

FOLDER = "/etc/containerd"
REGISTRY_NAME = "registry.jarvis.internal"


def containerd_config(pause_image: str, *, restrict_oom_score_adj: bool) -> str:
    """containerd's config.toml; ``pause_image`` is the reference of every pod's first container."""
    return fill_beside(
        __file__,
        "containerd.toml",
        pause=pause_image,
        restrict="true" if restrict_oom_score_adj else "false",
        folder=FOLDER,
    )


def registry_hosts(addresses: Sequence[str], port: int) -> str:
    """hosts.toml of the registry: the same images from each of ``addresses``, tried in this order."""
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
