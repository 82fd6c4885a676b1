"""Runs a program against a monitor that writes down what it registers: parents, dependencies, secrets."""

from __future__ import annotations

import asyncio
import base64
import gc
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import MessageToDict
from pulumi.runtime import mocks
from pulumi.runtime.settings import SETTINGS
from pulumi.runtime.stack import run_pulumi_func

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
PRIVATE = "-----BEGIN PRIVATE KEY----- of "


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One resource as the engine was told of it.

    ``secrets``: paths of the inputs that are secret. ``former``: the URNs under which a stack may have it, by
    its aliases and those of its parents.
    """

    kind: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    depends: frozenset[str]
    secrets: frozenset[str]
    secret_outputs: frozenset[str]
    delete_before_replace: bool
    deleted_with: str
    provider: str = ""
    aliases: frozenset[str] = frozenset()
    urn: str = ""
    former: frozenset[str] = frozenset()
    ignores: frozenset[str] = frozenset()
    protected: bool = False

    @property
    def label(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass
class Graph:
    """What a program registered, by label (``<type> <name>``)."""

    resources: dict[str, Registered] = field(default_factory=dict)

    def text(self) -> str:
        """The whole graph for a person to review: one block a resource, in the order of labels."""
        blocks = []
        for label, one in sorted(self.resources.items()):
            lines = [label, f"  parent      {one.parent}"]
            lines += [f"  depends on  {each}" for each in sorted(one.depends)]
            lines += [f"  secret      {each}" for each in sorted(one.secrets)]
            lines += [f"  gone with   {one.deleted_with}"] if one.deleted_with else []
            lines += ["  protected"] if one.protected else []
            blocks.append("\n".join(lines))
        return "\n".join(blocks) + "\n"

    def before(self, label: str) -> set[str]:
        """The labels of all that must be there before ``label``. What its component waits for it waits for
        too: a child is registered after its parent, and the parent after what that depends on. So it is with
        its provider."""
        seen: set[str] = set()
        rest = [label]
        while rest:
            one = self.resources[rest.pop()]
            for each in {*one.depends, one.parent, one.provider} & self.resources.keys() - seen:
                seen.add(each)
                rest.append(each)
        return seen


def differing(one: Graph, other: Graph) -> set[str]:
    """The labels of the resources that have other inputs, or are in one of the graphs alone."""
    return {
        label
        for label in one.resources.keys() | other.resources.keys()
        if label not in one.resources
        or label not in other.resources
        or one.resources[label].inputs != other.resources[label].inputs
    }


def label_of(urn: str) -> str:
    """``<type> <name>`` of a URN; an empty string for none and for the stack."""
    if not urn:
        return ""
    kind, name = urn.split("::")[-2:]
    if kind == "pulumi:pulumi:Stack":
        return ""
    return f"{kind.rsplit('$', 1)[-1]} {name}"


class Urns:
    """The URNs that an engine gives, with the types of all parents; those of mocks have the last one."""

    def __init__(self, stack: str) -> None:
        self._stack = f"urn:pulumi:{stack}::jarvis"
        self._real: dict[str, str] = {}
        self._former: dict[str, frozenset[str]] = {}

    def _below(self, parent: str, kind: str, name: str) -> str:
        parent = self._real.get(parent, parent)
        above = parent.split("::")[2] + "$" if parent and "pulumi:pulumi:Stack" not in parent else ""
        return f"{self._stack}::{above}{kind}::{name}"

    def register(self, request: Any, urn: str) -> tuple[str, frozenset[str]]:
        """The URN of what is registered, which the mocks call ``urn``, and those that it may have had: by its
        aliases, and below its parent's former ones."""
        kind, name = request.type, request.name
        own = self._real[urn] = self._below(request.parent, kind, name)
        found = {self._below(each, kind, name) for each in self._former.get(request.parent, ())}
        for alias in request.aliases:
            spec = alias.spec
            parent = "" if spec.noParent else spec.parentUrn or request.parent
            found.add(alias.urn or self._below(parent, spec.type or kind, spec.name or name))
        self._former[urn] = frozenset(found - {own})
        return own, self._former[urn]


def plain(value: Any) -> Any:
    """``value`` without the wrappers of secrets."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET:
            return plain(value.get("value"))
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def secret_paths(value: Any, path: str = "") -> set[str]:
    """The paths below ``value`` at which a secret stands."""
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET:
            return {path}
        below = [secret_paths(each, f"{path}.{key}" if path else key) for key, each in value.items()]
        return set().union(*below)
    if isinstance(value, list):
        return set().union(*(secret_paths(each, f"{path}[{at}]") for at, each in enumerate(value)))
    return set()


class Plugins(mocks.Mocks):
    """Answers as the plugins would; each generated secret can be told from the others by its text."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        return {}, []

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        outputs = dict(plain(args.inputs))
        if args.typ.startswith("command:"):
            outputs.setdefault("stdout", generated(args.name, outputs))
            outputs.setdefault("stderr", "")
        return f"{args.name}-id", outputs


def generated(name: str, inputs: Mapping[str, Any]) -> str:
    """What the generator of a secret would print; ``1`` for any other command."""
    try:
        request = json.loads(inputs.get("stdin") or "{}")
        kind = request.get("kind")
    except (ValueError, AttributeError):
        return "1"
    key = PRIVATE + name
    leaf = f"certificate {name}" + (f" of {request['rotation']}" if request.get("rotation") else "")
    made: dict[str, Any] = {
        "authority": {"certificate": f"certificate {name}", "key": key},
        "certificate": {"certificate": leaf, "key": key},
        "keypair": {"private": key, "public": f"public {name}"},
    }
    if kind == "password":
        # Of letters and digits alone, as the generator's are.
        return f"password{''.join(filter(str.isalnum, name))}r{request.get('rotation')}"
    if kind == "random-key":
        return base64.b64encode(key.encode()).decode()
    return json.dumps(made[kind]) if kind in made else "1"


def record(program: Callable[[], Any], stack: str = "test") -> Graph:
    """The graph that ``program`` registers. What it raises is raised here."""
    graph = Graph()
    problems: list[BaseException] = []
    urns = Urns(stack)

    class Recorder(mocks.MockMonitor):
        def RegisterResource(self, request: Any) -> Any:
            response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
            if request.type != "pulumi:pulumi:Stack":
                inputs = MessageToDict(request.object)
                urn, former = urns.register(request, response.urn)
                one = Registered(
                    urn=urn,
                    former=former,
                    kind=request.type,
                    name=request.name,
                    parent=label_of(request.parent) or "(stack)",
                    inputs=plain(inputs),
                    depends=frozenset(filter(None, map(label_of, request.dependencies))),
                    secrets=frozenset(secret_paths(inputs)),
                    secret_outputs=frozenset(request.additionalSecretOutputs),
                    delete_before_replace=request.deleteBeforeReplace,
                    deleted_with=label_of(request.deletedWith),
                    # A reference: its URN and its id.
                    provider=label_of(request.provider.rpartition("::")[0]),
                    # Of an alias that names another parent: where the resource was before.
                    aliases=frozenset(
                        f"{each.spec.parentUrn}" for each in request.aliases if each.spec.parentUrn
                    ),
                    ignores=frozenset(request.ignoreChanges),
                    protected=request.protect,
                )
                graph.resources[one.label] = one
            return response

    async def guarded() -> None:
        try:
            made = program()
            if inspect.isawaitable(made):
                await made
        except BaseException as error:
            problems.append(error)

    # The SDK waits for all Outputs of the process; one that another test made outside a loop never ends.
    SETTINGS.outputs.clear()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    world = Plugins()
    mocks.set_mocks(world, project="jarvis", stack=stack, preview=False, monitor=Recorder(world))
    # Among the objects of all tests, looking for garbage takes a third of the time.
    gc.disable()
    try:
        loop.run_until_complete(run_pulumi_func(guarded))
    finally:
        gc.enable()
        loop.close()
        # Others find a loop that can be used, not this closed one.
        asyncio.set_event_loop(asyncio.new_event_loop())
    if problems:
        raise problems[0]
    return graph
