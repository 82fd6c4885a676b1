"""Kubeconfig files, as pure functions."""

from __future__ import annotations

import base64
from pathlib import PurePosixPath

from jarvis.kubernetes.flags import to_yaml

# Each server's own proxy to the API servers.
LOCAL_SERVER = "https://127.0.0.1:7443"


def file_kubeconfig(user: str, folder: str, server: str = LOCAL_SERVER) -> str:
    """The kubeconfig of ``user`` on a server. It names files, and so holds no secret.

    Args:
        user: name of the user in the file.
        folder: folder with ``ca.crt``, ``client.crt`` and ``client.key``.
        server: URL of the API.
    """
    base = PurePosixPath(folder)
    return to_yaml(
        _document(
            user,
            {"server": server, "certificate-authority": str(base / "ca.crt")},
            {"client-certificate": str(base / "client.crt"), "client-key": str(base / "client.key")},
        )
    )


def whole_kubeconfig(user: str, cluster: str, server: str, authority: str, certificate: str, key: str) -> str:
    """The kubeconfig of ``user`` of ``cluster`` with certificates and key in it, given in PEM.

    It holds a private key: a secret.
    """
    return to_yaml(
        _document(
            f"{cluster}-{user}",
            {"server": server, "certificate-authority-data": _base64(authority)},
            {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
            cluster,
        )
    )


def _document(
    user: str, cluster_fields: dict[str, str], user_fields: dict[str, str], cluster: str = "jarvis"
) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": cluster_fields}],
        "users": [{"name": user, "user": user_fields}],
        "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        "current-context": cluster,
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
