"""What an object of Kubernetes is known by, and where the API has it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """``api``: group and version, as in ``core/v1``; of a kind called ``name``, in namespaces or not."""

    name: str
    api: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """Of an object, or of the list of all of a namespace, or of all."""
        group = self.api.removeprefix("core/")
        parts = ["/apis" if "/" in group else "/api", group]
        if namespace:
            parts += ["namespaces", namespace]
        # So it is for every kind that Jarvis makes; a test compares them with what the API says.
        parts.append(f"{self.name.lower()}s")
        return "/".join([*parts, name] if name else parts)


_OF_THE_CLUSTER = ("ClusterRole", "ClusterRoleBinding", "Namespace")
# The kinds of which Jarvis makes objects, by name; `jarvis.core.objects` fills it in.
KINDS: dict[str, Kind] = {}


def declare(name: str, api: str) -> None:
    """There is the kind ``name`` of the API ``api``."""
    KINDS[name] = Kind(name=name, api=api, namespaced=name not in _OF_THE_CLUSTER)


@dataclass(frozen=True, order=True, kw_only=True)
class Identity:
    """An object: its kind, its namespace (empty where it is in none), and its name."""

    kind: str
    namespace: str = ""
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def path(self) -> str:
        """Where the API has it."""
        return KINDS[self.kind].path(self.namespace, self.name)


def read_identity(text: str) -> Identity:
    """The object that is called ``text`` in messages. Raises ``ValueError`` for another text."""
    kind, separator, rest = text.partition(" ")
    if not separator:
        raise ValueError(f"{text!r} names no object")
    namespace, _, name = rest.rpartition("/")
    return Identity(kind=kind, namespace=namespace, name=name)
