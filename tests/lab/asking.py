"""A client of the API that asks again and again, as the administrator of a kubeconfig."""

from __future__ import annotations

import base64
import http.client
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from background import Background

# Between two requests. A gap of a second or two, as by a missed holder, would cut off several.
PAUSE_SECONDS = 0.1
# A client gives one up after so long.
PATIENCE_SECONDS = 5


def clusters_tls(config: Mapping[str, Any]) -> ssl.SSLContext:
    """TLS that trusts the authority of a kubeconfig."""
    trust = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    return ssl.create_default_context(cadata=trust)


def administrators_tls(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """TLS with the certificate of the kubeconfig ``user``, that trusts the authority of ``cluster``."""
    context = clusters_tls(cluster)
    with tempfile.NamedTemporaryFile() as file:
        for part in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user["users"][0]["user"][part]))
        file.flush()
        context.load_cert_chain(file.name)
    return context


class Asking(Background):
    """Asks the API at the address of ``kubeconfig``, each time by a connection of its own, until it is left.

    ``answered``: how many were. ``problems``: what was wrong with the others.
    """

    def __init__(self, kubeconfig: Path) -> None:
        super().__init__()
        config = yaml.safe_load(kubeconfig.read_text())
        self._context = administrators_tls(config, config)
        parts = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._address, self._port = str(parts.hostname), parts.port
        self.answered = 0
        self.problems: list[str] = []

    def _loop(self) -> None:
        while not self._end.wait(PAUSE_SECONDS):
            connection = http.client.HTTPSConnection(
                self._address, self._port, context=self._context, timeout=PATIENCE_SECONDS
            )
            try:
                connection.request("GET", "/api/v1/namespaces")
                answer = connection.getresponse()
                answer.read()
                if answer.status == http.client.OK:
                    self.answered += 1
                else:
                    self.problems.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.problems.append(str(error) or type(error).__name__)
            finally:
                connection.close()
