"""Reads and writes declared objects by OpenStack's APIs. Runs on a server, with the standard library alone.

Classes of kinds (``jarvis.openstack.declared.catalogue``) are added to this text, and a last line that calls
``main`` with them. So this module, and each such class, uses nothing that is not imported here.

The program is told one JSON document, by standard input or, where it has a command line, by the file
``administrator.json`` beside it. That has

- ``url``: of Keystone's API, including ``/v3``
- ``authority``: the certificates to trust, in PEM
- ``user``, ``password``, ``project``: of the administrator, in the domain ``default``
- ``endpoints``: URLs of the other APIs, by type of service
- ``seconds``: how long a request may take
- ``wait``: seconds for which a service that does not answer is asked again
- ``objects``: what is looked at, where no command line says what to do

Its command line is ``adopt OBJECT``, ``keep OBJECT`` or ``remove OBJECT``; without one it looks. An object is
JSON with

- ``kind`` and ``key``: what it is, and what it is called
- ``where``: what it is found by: names, and never an id
- ``fields``: what it shall have
- ``fixed``: the fields that no request changes
- ``source``: of an image, the file on this server (``path``) and its digest (``sha256``)
- ``content``: of an image, digests of its content by algorithm, and its ``size`` in bytes
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any, ClassVar

Json = dict[str, Any]
# The file with whom to ask, and as whom. Root alone reads it.
ADMINISTRATOR = "administrator.json"
# Name of the domain whose id is ``default``. A key does not name it.
DEFAULT_DOMAIN = "Default"
# What stands for a field of an object that was begun and not finished, which is nobody's work.
UNFINISHED = "unfinished"
# A service that restarts, or a gateway that does not know its pods yet.
_PASSING = (401, 500, 502, 503, 504)
_AGAIN_SECONDS = 2.0
# Objects that are looked at side by side.
_AT_ONCE = 8
# Where Keystone has what others refer to.
_COLLECTIONS = {
    "domain": "domains",
    "project": "projects",
    "group": "groups",
    "user": "users",
    "role": "roles",
}


class Refusal(Exception):
    """Why nothing was done, in words for the operator."""


class Unresolved(Refusal):
    """A name that leads to nothing.

    Attributes:
        key: what there is not, such as ``user/alice``.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"there is no {key}")
        self.key = key


def key_of(kind: str, name: str, domain: str | None = None) -> str:
    """What an object is called: ``project/research``, or ``project/Sales/research`` of another domain."""
    return "/".join([kind, *([domain] if domain and domain != DEFAULT_DOMAIN else []), name])


def compare(wanted: Json, live: Json) -> Json:
    """Compares fields; in a map each key is one.

    Returns:
        A sentence by field, as ``description`` or ``properties.hw_disk_bus``.
    """
    found: Json = {}
    for field, right in wanted.items():
        now = live.get(field)
        if not isinstance(right, dict):
            if now != right:
                found[field] = f"{field} is {json.dumps(now)}, not {json.dumps(right)}"
            continue
        there: Json = now or {}
        for name in sorted({*right, *there}):
            place = f"{field}.{name}"
            if name not in right:
                found[place] = f"{place} is {json.dumps(there[name])}, and not declared"
            elif name not in there:
                found[place] = f"{place} is missing, not {json.dumps(right[name])}"
            elif there[name] != right[name]:
                found[place] = f"{place} is {json.dumps(there[name])}, not {json.dumps(right[name])}"
    return found


class Cloud:
    """OpenStack's APIs, as the administrator sees them.

    Args:
        asked: the question.

    Attributes:
        asked: as given.
    """

    def __init__(self, asked: Json) -> None:
        self.asked = asked
        # The proxy that a server is configured with is not for its own cloud.
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if asked["authority"]:
            trusted = ssl.create_default_context(cadata=asked["authority"])
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        self._open = urllib.request.build_opener(*handlers).open
        self._token: str | None = None
        self._ids: dict[str, str] = {}

    def login(self) -> None:
        """Logs the administrator in.

        Raises:
            Refusal: Keystone does not let them in.
            OSError: it does not answer.
        """
        asked, domain = self.asked, {"id": "default"}
        user = {"name": asked["user"], "domain": domain, "password": asked["password"]}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": asked["project"], "domain": domain}},
        }
        try:
            _, headers = self.call("identity", "POST", "/auth/tokens", {"auth": auth})
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            raise Refusal("its administrator is not let in") from None
        self._token = str(headers["X-Subject-Token"])

    def call(
        self,
        service: str,
        method: str,
        path: str,
        body: object = None,
        *,
        kind: str = "application/json",
        size: int | None = None,
        seconds: float | None = None,
    ) -> tuple[Json, Any]:
        """Sends one request.

        Args:
            service: type of the service, such as ``image``.
            method: of HTTP.
            path: below the service's endpoint.
            body: sent as JSON; a file is sent as it is.
            kind: content type of the body.
            size: bytes of the body, where it is a file.
            seconds: how long the request may take, where it is not the usual.

        Returns:
            The body of the answer, and its headers.

        Raises:
            OSError: no answer; an ``HTTPError`` where the answer is an error.
        """
        url = self.asked["url"] if service == "identity" else self.asked["endpoints"][service]
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["X-Auth-Token"] = self._token
        data: Any = None
        if body is not None:
            headers["Content-Type"] = kind
            data = body if size is not None else json.dumps(body).encode()
        if size is not None:
            headers["Content-Length"] = str(size)
        request = urllib.request.Request(url.rstrip("/") + path, data, headers, method=method)
        with self._open(request, timeout=seconds or self.asked["seconds"]) as answer:
            text = answer.read()
            return (json.loads(text) if text else {}), answer.headers

    def get(self, service: str, path: str, **query: str) -> Json:
        """Reads ``path``; raises what ``call`` does."""
        return self.call(service, "GET", f"{path}?{urllib.parse.urlencode(query)}" if query else path)[0]

    def id_of(self, kind: str, name: str, domain: str | None = None) -> str:
        """The id of what is called so in Keystone.

        Raises:
            Unresolved: there is none.
        """
        key = key_of(kind, name, domain)
        if key not in self._ids:
            within = {} if domain is None else {"domain_id": self.id_of("domain", domain)}
            many = _COLLECTIONS[kind]
            found = [
                one
                for one in self.get("identity", f"/{many}", name=name, **within)[many]
                # A domain that another directory serves may answer with more than was asked for.
                if one["name"] == name
            ]
            if not found:
                raise Unresolved(key)
            self._ids[key] = str(found[0]["id"])
        return self._ids[key]


class Items:
    """Objects of a kind that an API lists, makes by POST, changes by PATCH and removes by DELETE.

    A kind whose API is otherwise is a subclass with methods of its own.

    Args:
        cloud: the APIs.

    Attributes:
        cloud: as given.
        service: type of the service.
        path: of the list.
        many: name of the list in an answer.
        one: name of one object in requests.
        fields: names of the fields that are compared, declared as the API names them.
        update: method of HTTP that changes one.
    """

    service: ClassVar[str] = "identity"
    path: ClassVar[str] = ""
    many: ClassVar[str] = ""
    one: ClassVar[str] = ""
    fields: ClassVar[tuple[str, ...]] = ()
    update: ClassVar[str] = "PATCH"

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    def known_by(self, where: Json) -> Json:
        """The fields of the API that tell an object from others.

        Args:
            where: what it is declared by: its name, and its domain where it is in one.
        """
        domain = where.get("domain")
        within = {} if domain is None else {"domain_id": self.cloud.id_of("domain", domain)}
        return {"name": where["name"], **within}

    def find(self, where: Json) -> Json | None:
        """Finds an object.

        Returns:
            It, as the API has it; ``None`` where there is none.

        Raises:
            Refusal: there are several.
        """
        known = self.known_by(where)
        listed = self.cloud.get(self.service, self.path, **known)[self.many]
        return self.only([one for one in listed if known.items() <= one.items()])

    def only(self, found: list[Json]) -> Json | None:
        """The one of ``found``, or ``None``.

        Raises:
            Refusal: there are several.
        """
        if len(found) > 1:
            raise Refusal(f"there are {len(found)} of this name, and nothing tells which one is meant")
        return found[0] if found else None

    def read(self, item: Json) -> Json:
        """The fields of ``item`` as they are declared. What is not set is an empty text."""
        return {field: "" if item.get(field) is None else item[field] for field in self.fields}

    @staticmethod
    def differences(wanted: Json, live: Json) -> Json:
        """What of an object is another than it shall be.

        Args:
            wanted: the object.
            live: what ``read`` says of it.

        Returns:
            A sentence by field.
        """
        return compare(wanted["fields"], live)

    def prepare(self, wanted: Json) -> Json:
        """``wanted`` with what only this server can tell of it, where it is compared with somebody's."""
        return wanted

    def make(self, wanted: Json) -> None:
        """Makes the object, which is not there."""
        body = {**self.known_by(wanted["where"]), **wanted["fields"]}
        self.cloud.call(self.service, "POST", self.path, {self.one: body})

    def change(self, item: Json, wanted: Json, wrong: Json) -> None:
        """Gives ``item`` the fields that ``wrong`` names as they shall be."""
        fields = {field: wanted["fields"][field] for field in {name.partition(".")[0] for name in wrong}}
        self.cloud.call(self.service, self.update, f"{self.path}/{item['id']}", {self.one: fields})

    def remove(self, item: Json) -> None:
        """Removes ``item``."""
        self.cloud.call(self.service, "DELETE", f"{self.path}/{item['id']}")

    def done(self, wanted: Json) -> None:
        """Ends a run that succeeded, such as by removing what was brought for it."""


def put(kind: Items, wanted: Json, *, adopt: bool) -> str:
    """Makes an object, or changes what of it is another than it shall be. Idempotent.

    Args:
        kind: its kind.
        wanted: the object.
        adopt: it is not known to be Jarvis', so one that differs stays as it is.

    Returns:
        What was done.

    Raises:
        Refusal: it is there and differs, in fields that cannot be changed or because it is somebody's.
    """
    item = kind.find(wanted["where"])
    if item is None:
        kind.make(wanted)
        return "made"
    wrong = kind.differences(kind.prepare(wanted) if adopt else wanted, kind.read(item))
    if adopt and set(wrong) - {UNFINISHED}:
        raise Refusal(f"is there already, and differs: {'; '.join(wrong.values())}")
    fixed = [text for name, text in wrong.items() if name.partition(".")[0] in wanted.get("fixed", ())]
    if fixed:
        raise Refusal(f"{'; '.join(fixed)}; that cannot be changed: remove the object, or rename it")
    if wrong:
        kind.change(item, wanted, wrong)
        return f"changed: {', '.join(sorted(wrong))}"
    return "adopted" if adopt else "as it shall be"


def remove(kind: Items, wanted: Json) -> str:
    """Removes an object. Idempotent.

    Returns:
        What was done.
    """
    item = None
    # What is on something that is gone has gone with it.
    with contextlib.suppress(Unresolved):
        item = kind.find(wanted["where"])
    if item is None:
        return "is not there"
    kind.remove(item)
    return "removed"


def look(kind: Items, wanted: Json) -> Json:
    """Reads an object.

    Returns:
        Its fields as ``is``; or ``missing``; or as ``lacks`` what it is found by and is not there; or as
        ``refused`` why it cannot be told.
    """
    try:
        item = kind.find(wanted["where"])
        return {"missing": True} if item is None else {"is": kind.read(item)}
    except Unresolved as error:
        return {"lacks": error.key}
    except Refusal as error:
        return {"refused": str(error)}


def look_at_all(asked: Json, kinds: dict[str, type[Items]]) -> Json:
    """What ``look`` says of each of the question's objects, by key."""
    cloud = Cloud(asked)
    cloud.login()
    objects = asked["objects"]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        said = pool.map(lambda one: look(kinds[one["kind"]](cloud), one), objects)
        return {one["key"]: each for one, each in zip(objects, said, strict=True)}


def act(action: str, asked: Json, wanted: Json, kinds: dict[str, type[Items]]) -> str:
    """Does what the command line says. What passes by itself is waited for, and all is read once more.

    Returns:
        What was done.

    Raises:
        Refusal: nothing was done.
        OSError: the services do not answer.
    """
    until = time.monotonic() + asked["wait"]
    while True:
        try:
            cloud = Cloud(asked)
            cloud.login()
            kind = kinds[wanted["kind"]](cloud)
            if action == "remove":
                return remove(kind, wanted)
            done = put(kind, wanted, adopt=action == "adopt")
            kind.done(wanted)
            return done
        except OSError as error:
            passes = not isinstance(error, urllib.error.HTTPError) or error.code in _PASSING
            if not passes or time.monotonic() > until:
                raise
        time.sleep(_AGAIN_SECONDS)


def said(error: Exception) -> str:
    """``error`` in one line."""
    if isinstance(error, urllib.error.HTTPError):
        path = urllib.parse.urlsplit(error.url or "").path
        text = " ".join(error.read(2000).decode(errors="replace").split())
        return f"{path}: {error.code} {error.reason}: {text}"
    return str(error) if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"


def main(kinds: dict[str, type[Items]]) -> int:
    """Runs the program; returns its exit status."""
    if len(sys.argv) < 2:
        asked = json.loads(sys.stdin.readline())
        # An error is an answer as well, and so is one that is no JSON: a gateway's page.
        try:
            print(json.dumps({"found": look_at_all(asked, kinds)}))
        except (Refusal, OSError, ValueError, KeyError, TypeError) as error:
            print(json.dumps({"error": said(error)}))
        return 0
    action, wanted = sys.argv[1], json.loads(sys.argv[2])
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    try:
        with open(os.path.join(folder, ADMINISTRATOR), encoding="utf-8") as file:
            asked = json.load(file)
        print(f"{wanted['key']}: {act(action, asked, wanted, kinds)}")
    except (Refusal, OSError, ValueError, KeyError, TypeError) as error:
        print(f"{wanted['key']}: {said(error)}", file=sys.stderr)
        return 1
    return 0


def digests(path: str, *algorithms: str) -> dict[str, str]:
    """The digests of a file, by algorithm, in hexadecimal digits. The file is read once."""
    codes = {name: hashlib.new(name) for name in algorithms}
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            for code in codes.values():
                code.update(block)
    return {name: code.hexdigest() for name, code in codes.items()}


def open_file(path: str) -> tuple[IO[bytes], int]:
    """A file to send, and its size in bytes."""
    return open(path, "rb"), os.path.getsize(path)
