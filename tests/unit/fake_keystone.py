"""As much of Keystone's API as the registration of a service asks for, in memory."""

from __future__ import annotations

import io
import urllib.error
import urllib.parse
from email.message import Message
from typing import Any


class FakeKeystone:
    """Items by kind; ``passwords`` by account; ``grants``: paths of roles that were given.

    ``changes``: what was made or changed, such as ``POST users``."""

    def __init__(self) -> None:
        self.items: dict[str, list[dict[str, Any]]] = {"roles": [{"id": "r1", "name": "service"}]}
        self.passwords: dict[str, str] = {}
        self.grants: set[str] = set()
        self.changes: list[str] = []
        # An id is nobody's again.
        self._made: dict[str, int] = {}

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
        """As ``Keystone.call`` of the script."""
        if path == "/auth/tokens":
            return self._authenticate(body or {})
        kind, _, rest = path.strip("/").partition("/")
        kind, _, query = kind.partition("?")
        known = self.items.setdefault(kind, [])
        if method == "GET":
            wanted = dict(urllib.parse.parse_qsl(query)).items()
            return {kind: [one for one in known if wanted <= one.items()]}, None
        if method == "PUT":
            self.grants.add(path)
            return {}, None
        self.changes.append(f"{method} {kind}")
        if method == "DELETE":
            [gone] = [one for one in known if one["id"] == rest]
            known.remove(gone)
            return {}, None
        [(name, given)] = (body or {}).items()
        for each in given if isinstance(given, list) else [given]:
            if method == "POST":
                self._made[kind] = at = self._made.get(kind, -1) + 1
                known.append({"id": f"{kind}{at}", "enabled": True})
                rest = known[-1]["id"]
            [one] = [one for one in known if one["id"] == rest]
            one.update(each)
            if "password" in one:
                self.passwords[one["name"]] = one.pop("password")
        return {name: one}, None

    def _authenticate(self, body: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        user = body["auth"]["identity"]["password"]["user"]
        if self.passwords.get(user["name"]) != user["password"]:
            raise urllib.error.HTTPError("https://x/v3", 401, "no", Message(), io.BytesIO())
        return {}, {"X-Subject-Token": "token"}
