"""Removes nodes from a cluster, run as ``python3 jarvis/kubernetes/forget.py`` with a request on stdin.

The request is a JSON object: ``address`` (URL of the API), ``nodes``, and ``authority``, ``certificate``,
``key`` in PEM. Pods of such a node are deleted without waiting for a kubelet that will never answer, and
their controllers replace them elsewhere. Only the standard library is imported.
"""

from __future__ import annotations

import json
import ssl
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 20


def context(request: Mapping[str, Any]) -> ssl.SSLContext:
    """A TLS context with the request's client certificate.

    The key is in a private folder while it is loaded.
    """
    found = ssl.create_default_context(cadata=request["authority"])
    with tempfile.TemporaryDirectory(prefix="jarvis-forget-") as folder:
        pair = Path(folder) / "client.pem"
        pair.touch(mode=0o600)
        pair.write_text(request["certificate"] + request["key"], encoding="utf-8")
        found.load_cert_chain(pair)
    return found


class Api:
    """The API of a cluster.

    Args:
        address: its URL.
        tls: TLS context; ``None`` for plain HTTP.
    """

    def __init__(self, address: str, tls: ssl.SSLContext | None) -> None:
        self._address, self._tls = address, tls

    def ask(self, method: str, path: str, body: object = None, content: str = "application/json") -> Any:
        """Sends a request, and returns the response; ``None`` for what does not exist.

        Args:
            method: of HTTP.
            path: below the API server's address.
            body: what is sent as JSON, or ``None``.
            content: media type of ``body``.

        Raises:
            urllib.error.URLError: any other error.
        """
        asked = urllib.request.Request(
            self._address + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content},
        )
        try:
            with urllib.request.urlopen(asked, timeout=_TIMEOUT_SECONDS, context=self._tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def forget(self, node: str) -> None:
        """Deletes ``node`` and its pods."""
        self.ask("DELETE", f"/api/v1/nodes/{node}")
        pods = self.ask("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{node}")
        for pod in pods["items"] if pods else []:
            metadata = pod["metadata"]
            self.ask(
                "DELETE",
                f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}",
                {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0},
            )


def main() -> int:
    """The program; returns its exit status."""
    request = json.load(sys.stdin)
    api = Api(request["address"], context(request))
    for node in request["nodes"]:
        try:
            api.forget(node)
        except (urllib.error.URLError, OSError) as error:
            print(f"error: the node {node} could not be removed: {error}", file=sys.stderr)
            return 1
    print(" ".join(request["nodes"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
