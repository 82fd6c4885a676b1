"""A user of the cloud: identity and image, through the gateway's virtual address, with verified TLS."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml

# A client gives up after so long without a byte, and its user tries again.
PATIENCE_SECONDS = 5.0
# An upload is answered once three osds have it on their disks, and Glance has asked Keystone for limits.
UPLOAD_SECONDS = 30.0


# What is asked before and after the load is asked again for so long: there the answer counts, not the time.
INSIST_SECONDS = 120.0

T = TypeVar("T")


class Refused(Exception):
    """A request that was not answered as it should be."""


def insist(ask: Callable[[], T]) -> T:
    """What ``ask`` answers, asked again until it does. Raises what it raised last."""
    deadline = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            return ask()
        except (OSError, Refused):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


class Gateway:
    """Sends requests to one address whatever name is asked for, as a client does whose DNS knows the names.

    ``address``: the virtual one. ``authority``: PEM file that the certificate is verified with.
    """

    def __init__(self, address: str, authority: Path) -> None:
        self._address = address
        self._tls = ssl.create_default_context(cafile=str(authority))

    def ask(
        self,
        method: str,
        url: str,
        expected: int,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
        body: object = None,
        patience: float = PATIENCE_SECONDS,
    ) -> tuple[Message, bytes]:
        """One request by a connection of its own; headers and body of the answer.

        ``body``: bytes as they are, anything else as JSON. Raises ``Refused`` and ``OSError``.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        own = {"X-Auth-Token": token} if token else {}
        if body is not None and not isinstance(body, bytes):
            own["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = http.client.HTTPSConnection(host, port, context=self._tls)
        raw = socket.create_connection((self._address, port), timeout=patience)
        try:
            connection.sock = self._tls.wrap_socket(raw, server_hostname=host)
            connection.request(method, target, body=body, headers={**own, **(headers or {})})
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise Refused(f"{type(error).__name__}: {error}") from None
        finally:
            connection.close()
            raw.close()
        if answer.status != expected:
            raise Refused(f"status {answer.status}")
        return answer.headers, text


class User:
    """A user with a project, made for the load, and the administrator who made them.

    The methods that users call are safe from several threads; each raises ``Refused`` or ``OSError`` where it
    got no good answer. What was acknowledged is remembered, for ``lost`` to look for.
    """

    def __init__(self, clouds: Path, gateway: Gateway) -> None:
        self.come_back(clouds, gateway)
        self._lock = threading.Lock()
        # By id: the digest of what was acknowledged.
        self.credentials: dict[str, str] = {}
        self.images: dict[str, str] = {}
        insist(self._prepare)

    def come_back(self, clouds: Path, gateway: Gateway) -> None:
        """Reads anew how the administrator logs in, and trusts what ``gateway`` does: after a rotation."""
        auth: dict[str, Any] = yaml.safe_load(clouds.read_text(encoding="utf-8"))["clouds"]["jarvis"]["auth"]
        self._gateway = gateway
        self._url = str(auth["auth_url"])
        self._admin = _password_request(auth["username"], auth["password"], auth["project_name"])

    def _prepare(self) -> None:
        """Makes the user and the project, of another name each time: an answer may be lost, its work done."""
        name = f"faults-{uuid.uuid4().hex[:8]}"
        password = uuid.uuid4().hex
        token, _ = self._issue(self._admin)
        self.project = self._made(token, "project", {"name": name, "domain_id": "default"})
        self.id = self._made(token, "user", {"name": name, "domain_id": "default", "password": password})
        roles = self._read(token, f"{self._url}/roles")["roles"]
        # Keystone's own: every deployment has them (keystone-manage bootstrap).
        member = next(role["id"] for role in roles if role["name"] == "member")
        self._gateway.ask(
            "PUT",
            f"{self._url}/projects/{self.project}/users/{self.id}/roles/{member}",
            204,
            token=token,
        )
        self._own = _password_request(name, password, name)
        self.token, catalogue = self._issue(self._own)
        endpoints = {
            service["type"]: next(
                (each["url"] for each in service["endpoints"] if each["interface"] == "public"), None
            )
            for service in catalogue
        }
        # ``None`` where the deployment has no image service.
        self.image_url: str | None = endpoints.get("image")

    def _issue(self, body: object) -> tuple[str, list[dict[str, Any]]]:
        headers, text = self._gateway.ask("POST", f"{self._url}/auth/tokens", 201, body=body)
        return headers["X-Subject-Token"], json.loads(text)["token"]["catalog"]

    def _made(self, token: str, kind: str, values: Mapping[str, str]) -> str:
        body = {kind: dict(values)}
        _, text = self._gateway.ask("POST", f"{self._url}/{kind}s", 201, token=token, body=body)
        return str(json.loads(text)[kind]["id"])

    def _read(self, token: str, url: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._gateway.ask("GET", url, 200, token=token, patience=60)[1])
        return found

    def issue(self) -> None:
        """A token by password."""
        self.token, _ = self._issue(self._own)

    def validate(self) -> None:
        """Validates the newest token, as every service does at every request."""
        token = self.token
        self._gateway.ask(
            "GET", f"{self._url}/auth/tokens", 200, token=token, headers={"X-Subject-Token": token}
        )

    def write(self) -> None:
        """Creates a credential, and remembers it once that is acknowledged."""
        secret = uuid.uuid4().hex
        values = {"type": "faults", "blob": secret, "user_id": self.id, "project_id": self.project}
        made = self._made(self.token, "credential", values)
        with self._lock:
            self.credentials[made] = secret

    def upload(self) -> None:
        """Uploads an image of its own content, and remembers it once that is acknowledged."""
        seed = uuid.uuid4().bytes
        content = seed * (IMAGE_BYTES // len(seed))
        values = {"name": seed.hex(), "disk_format": "raw", "container_format": "bare"}
        url = f"{self.image_url}/v2/images"
        _, text = self._gateway.ask("POST", url, 201, token=self.token, body=values, patience=UPLOAD_SECONDS)
        made = str(json.loads(text)["id"])
        kind = {"Content-Type": "application/octet-stream"}
        self._gateway.ask(
            "PUT",
            f"{url}/{made}/file",
            204,
            token=self.token,
            headers=kind,
            body=content,
            patience=UPLOAD_SECONDS,
        )
        with self._lock:
            self.images[made] = hashlib.sha256(content).hexdigest()

    def download(self) -> None:
        """Downloads the image that was uploaded last. Raises ``Refused`` also for another content."""
        with self._lock:
            found = list(self.images.items())[-1:]
        for made, digest in found:
            if self._digest(made) != digest:
                raise Refused("another content")

    def _digest(self, image: str, patience: float = PATIENCE_SECONDS) -> str:
        url = f"{self.image_url}/v2/images/{image}/file"
        _, content = self._gateway.ask("GET", url, 200, token=self.token, patience=patience)
        return hashlib.sha256(content).hexdigest()

    def lost(self) -> list[str]:
        """What was acknowledged and is not there, or is another."""
        insist(self.issue)
        url = f"{self._url}/credentials?user_id={self.id}"
        found = insist(lambda: self._read(self.token, url))["credentials"]
        blobs = {each["id"]: each["blob"] for each in found}
        missing = [f"credential {key}" for key, blob in self.credentials.items() if blobs.get(key) != blob]
        for image, digest in self.images.items():
            try:
                if insist(partial(self._digest, image, patience=60)) != digest:
                    missing.append(f"image {image}: another content")
            except (OSError, Refused) as error:
                missing.append(f"image {image}: {error}")
        return missing

    def leave(self) -> None:
        """Removes what was made for the load; a user's credentials go with it."""
        token, _ = insist(lambda: self._issue(self._admin))
        for image in self.images:
            self._gateway.ask("DELETE", f"{self.image_url}/v2/images/{image}", 204, token=token, patience=60)
        for kind, key in (("users", self.id), ("projects", self.project)):
            self._gateway.ask("DELETE", f"{self._url}/{kind}/{key}", 204, token=token, patience=60)


# Enough to be more than one packet and one block, and little enough for a minute's load on a small machine.
IMAGE_BYTES = 256 * 1024


def _password_request(user: str, password: str, project: str) -> dict[str, Any]:
    domain = {"name": "Default"}
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": user, "password": password, "domain": domain}},
    }
    return {"auth": {"identity": identity, "scope": {"project": {"name": project, "domain": domain}}}}
