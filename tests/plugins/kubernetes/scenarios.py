"""What is done to a plugin and a cluster: once with the official plugin (record.py), in every test with ours.

Each scenario is a function of a `Stage`, and works in a namespace of its own.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from api_server import ApiServer, kubeconfig
from conversation import Conversation, Resource
from relay import Relay

Body = dict[str, Any]
# One of each kind that Jarvis makes, and a few beside them, written as nobody's server would answer them.
KINDS: dict[str, Body] = json.loads((Path(__file__).parent / "kinds.json").read_text())

# Whole and broken numbers, each suffix, what is canonical already, and what is no quantity.
_QUANTITIES: tuple[str | float, ...] = (
    *("1024Mi", "1Gi", "1536Mi", "0.5Gi", "1.5Ki", "1000Ki", "0.1Ki", "2048Ki", "1025Mi", "01Gi", "9Ei"),
    *("-1024Mi", "0Mi", "0", "1023", "1024", "1024000", "0.5", ".5", "5.", "0.0001", "+2", "10.50", "1.500"),
    *(
        "0010",
        "1000m",
        "1500m",
        "100u",
        "1n",
        "0.1n",
        "1000000n",
        "1k",
        "1000k",
        "1M",
        "1000G",
        "1000P",
        "1E",
    ),
    *("1e3", "1E3", "1000e3", "12e-3", "1.5e3", "123456789012345678901", "0.1234567891"),
    *("many", "1gi", "1e", "1 Gi", ""),
    *(1, 1.5, 1000, 0.001),
)


class Stage:
    """What a scenario acts on.

    Attributes:
        server: the cluster. space: the scenario's namespace, made at the first `configured`.
    """

    def __init__(
        self, server: ApiServer, space: str, start: Callable[[], AbstractContextManager[Conversation]]
    ) -> None:
        self.server, self.space, self._start = server, space, start
        self.said: list[dict[str, Any]] = []

    @contextmanager
    def configured(self, config: str = "", **settings: str) -> Iterator[Conversation]:
        """A plugin process that is configured for the cluster; what it says is kept."""
        with self._start() as talk:
            talk.configure(kubeconfig=config or self.server.kubeconfig, **settings)
            yield talk
            self.said += talk.said

    def make_space(self) -> None:
        """Make the namespace."""
        self.server.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.space}})

    def body(self, kind: str, name: str, **fields: Any) -> Body:
        """A small object of the namespace."""
        base = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": self.space}}
        return {**base, **fields}

    def path(self, plural: str, name: str = "") -> str:
        """The path of an object of the namespace, `plural` with its API ("api/v1/configmaps")."""
        api, _, resource = plural.rpartition("/")
        return f"/{api}/namespaces/{self.space}/{resource}/{name}".rstrip("/")

    def relay(self) -> Relay:
        """A relay in front of the cluster; closed."""
        folder = self.server.folder / "certificates"
        return Relay(self.server.port, folder / "apiserver.crt", folder / "apiserver.key")

    def write(self, name: str, data: dict[str, str], manager: str) -> None:
        """Change a ConfigMap's data as another manager."""
        path = self.path("api/v1/configmaps", name) + f"?fieldManager={manager}"
        self.server.call("PATCH", path, {"data": data}, "application/merge-patch+json")


def unreachable(stage: Stage) -> None:
    """No API server when the plugin is configured; there is one a moment later."""
    stage.make_space()
    body = stage.body("ConfigMap", "made", data={"a": "1"})
    with stage.configured() as talk:
        made = Resource(talk, body)
        made.create(body)
    state = made.id, made.inputs, made.outputs
    for settings in ({}, {"deleteUnreachable": "true"}, {"skipUpdateUnreachable": "true"}):
        relay = stage.relay()
        with stage.configured(kubeconfig(relay.port), **settings) as talk, relay.open():
            new = stage.body("ConfigMap", "new", data={"a": "1"})
            fresh = Resource(talk, new, "fresh")
            fresh.check(new)
            fresh.create(new, preview=True)
            fresh.create(new)
            known = Resource(talk, body, "known")
            known.id, known.inputs, known.outputs = state
            changed = {**body, "data": {"a": "2"}}
            known.check(changed)
            known.diff(changed)
            known.update(changed, preview=True)
            known.update(changed)
            known.read()
            known.id, known.inputs, known.outputs = state
            known.delete()
            talk.note("requests", len(relay.seen))
    assert stage.server.call("GET", stage.path("api/v1/configmaps", "made"))["data"] == {"a": "1"}


def without_kubeconfig(stage: Stage) -> None:
    """A kubeconfig that is none."""
    with stage.configured("no: [kubeconfig") as talk:
        Resource(talk, KINDS["ConfigMap"]).create(KINDS["ConfigMap"])


def exists(stage: Stage) -> None:
    """An object is there and not in the state: somebody else's, and one of an earlier run."""
    stage.make_space()
    body = stage.body("ConfigMap", "foreign", data={"a": "1"})
    stage.server.call("POST", stage.path("api/v1/configmaps"), body)
    with stage.configured() as talk:
        foreign = Resource(talk, body, "foreign")
        foreign.create(body, preview=True)
        foreign.create(body)
        own = stage.body("ConfigMap", "own", data={"a": "1"})
        Resource(talk, own, "own").create(own)
        Resource(talk, own, "own").create(own)
        owner = copy.deepcopy(own)
        owner["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
        Resource(talk, own, "own").create(owner)
    with stage.configured(enablePatchForce="true") as talk:
        Resource(talk, own, "own").create(own)


def upsert(stage: Stage) -> None:
    """The same with `upsertExistingObjects`; and a protected object that is to be deleted afterwards."""
    stage.make_space()
    configmaps = stage.path("api/v1/configmaps")
    body = stage.body("ConfigMap", "foreign", data={"a": "1"})
    stage.server.call("POST", configmaps + "?fieldManager=somebody", body)
    with stage.configured(upsertExistingObjects="true") as talk:
        own = stage.body("ConfigMap", "own", data={"a": "1"})
        first = Resource(talk, own, "own")
        first.create(own, preview=True)
        first.create(own)
        second = Resource(talk, own, "own")
        second.create(own)
        other = {**own, "data": {"a": "2"}}
        third = Resource(talk, own, "own")
        third.create(other, preview=True)
        third.create(other)
        same = Resource(talk, body, "foreign")
        same.create(body)
        changed = {**body, "data": {"a": "2"}}
        Resource(talk, body, "foreign").create(changed)
        forced = copy.deepcopy(changed)
        forced["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
        Resource(talk, body, "foreign").create(forced)
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-public"}}
        space["metadata"]["labels"] = {"jarvis": "was-here"}
        protected = Resource(talk, space)
        protected.create(space)
        assert protected.id, talk.said[-1]
        protected.delete()
        found = stage.server.get("v1 namespaces kube-public")
        talk.note("labels", found["metadata"].get("labels", {}).get("jarvis"))
    with stage.configured(upsertExistingObjects="true", enablePatchForce="true") as talk:
        Resource(talk, body, "foreign").create({**body, "data": {"a": "3"}})


def conflict(stage: Stage) -> None:
    """Others change what is ours: kubectl scale, kubectl edit, and a manager of another name."""
    _conflict(stage)


def patch_force(stage: Stage) -> None:
    """The same with `enablePatchForce`."""
    _conflict(stage, enablePatchForce="true")


def _conflict(stage: Stage, **settings: str) -> None:
    stage.make_space()
    deployment = copy.deepcopy(KINDS["Deployment"])
    deployment["metadata"]["namespace"] = stage.space
    with stage.configured(enableConfigMapMutable="true", **settings) as talk:
        web = Resource(talk, deployment)
        web.create(web.check(deployment))
        for name in ("edited", "foreign"):
            body = stage.body("ConfigMap", name, data={"a": "1", "b": "1"})
            talk_about = Resource(talk, body, name)
            talk_about.create(body)
            stage.write(
                name, {"a": "theirs", "c": "theirs"}, "kubectl-edit" if name == "edited" else "somebody"
            )
            talk_about.update({**body, "data": {"a": "2", "b": "1"}}, preview=True)
            talk_about.update({**body, "data": {"a": "2", "b": "1"}})
            talk_about.read()
            talk_about.diff({**body, "data": {"a": "2", "b": "1"}})
            # What the inputs no longer have goes.
            talk_about.update({**body, "data": {"a": "2"}})
            found = stage.server.call("GET", stage.path("api/v1/configmaps", name))
            talk.note(f"data of {name}", found["data"])
        path = stage.path("apis/apps/v1/deployments", deployment["metadata"]["name"]) + "/scale"
        scale = {"spec": {"replicas": 3}}
        stage.server.call("PATCH", path + "?fieldManager=kubectl", scale, "application/merge-patch+json")
        wanted = copy.deepcopy(deployment)
        wanted["spec"]["replicas"] = 2
        web.update(web.check(wanted))


def identifier(stage: Stage) -> None:
    """A provider whose inputs change, with and without `clusterIdentifier`."""
    here, there = kubeconfig(1), kubeconfig(2)
    unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    with stage.configured() as talk:

        def ask(about: str, olds: Body, news: Body) -> None:
            talk.diff_config(olds, news, about)

        ask("nothing", {"kubeconfig": here}, {"kubeconfig": here})
        ask("the address", {"kubeconfig": here}, {"kubeconfig": there})
        ask("the user", {"kubeconfig": here}, {"kubeconfig": kubeconfig(1, "other")})
        ask("not known", {"kubeconfig": here}, {"kubeconfig": unknown})
        ask("an option", {"kubeconfig": here}, {"kubeconfig": here, "upsertExistingObjects": "true"})
        ask(
            "the address and an option",
            {"kubeconfig": here},
            {"kubeconfig": there, "enablePatchForce": "true"},
        )
        one, two = {"clusterIdentifier": "one"}, {"clusterIdentifier": "two"}
        ask("identified, the address", {"kubeconfig": here, **one}, {"kubeconfig": there, **one})
        ask("identified, not known", {"kubeconfig": here, **one}, {"kubeconfig": unknown, **one})
        ask("the identifier", {"kubeconfig": here, **one}, {"kubeconfig": here, **two})
        ask("the identifier and the address", {"kubeconfig": here, **one}, {"kubeconfig": there, **two})
        ask("an identifier is added", {"kubeconfig": here}, {"kubeconfig": here, **one})
        ask("an identifier and the address", {"kubeconfig": here}, {"kubeconfig": there, **one})
        ask("the identifier goes", {"kubeconfig": here, **one}, {"kubeconfig": here})
        context = {"context": "test"}
        ask("a context is named", {"kubeconfig": here}, {"kubeconfig": here, **context})


def reset(stage: Stage) -> None:
    """Connections that break, and servers that are busy, while objects are changed."""
    stage.make_space()
    relay = stage.relay()
    body = stage.body("ConfigMap", "made", data={"a": "1"})
    with relay.open(), stage.configured(kubeconfig(relay.port), enableConfigMapMutable="true") as talk:
        made = Resource(talk, body)
        for method, answer in (("reset", None), ("busy", (503, {})), ("later", (429, {"Retry-After": "1"}))):
            for verb, act in (
                ("POST", lambda: made.create(body)),
                ("PATCH", lambda: made.update({**body, "data": {"a": "2"}})),
                ("GET", made.read),
                ("DELETE", made.delete),
            ):
                if answer is None:
                    relay.reset.append(verb)
                else:
                    relay.answers[verb] = answer
                relay.seen.clear()
                act()
                if verb != "GET":  # How often an object is looked at is the plugin's affair.
                    talk.note(f"{method} {verb}", relay.seen.count(verb))
                relay.reset.clear()
                relay.answers.clear()
                if verb == "POST" and not made.id:
                    made.create(body)
            stage.server.call("DELETE", stage.path("api/v1/configmaps", "made"))
            made.id = ""


def quantities(stage: Stage) -> None:
    """Spellings of quantities, and one that is none: then the whole object stays as it is."""
    with stage.configured() as talk:
        for value in _QUANTITIES:
            body = stage.body("ResourceQuota", "quota", spec={"hard": {"pods": value}, "scopes": []})
            Resource(talk, body, f"quantity {value}").check(body)


def untouched(stage: Stage) -> None:
    """Every kind: made, read as a refresh does, and nothing found; then changed, field by field."""
    stage.make_space()
    with stage.configured() as talk:
        for name, given in KINDS.items():
            body = copy.deepcopy(given)
            if "namespace" in body["metadata"]:
                body["metadata"]["namespace"] = stage.space
            elif name != "Namespace":
                body["metadata"]["name"] = f"{stage.space}-{body['metadata']['name']}"
            made = Resource(talk, body, name)
            inputs = made.check(body)
            made.create(inputs)
            assert made.id, talk.said[-1]
            made.diff(inputs, "as it was made")
            made.read()
            made.diff(inputs, "after a refresh")
            for about, changed in _changes(body):
                news = made.check(changed)
                talk.said.pop()
                made.diff(news, about)
            made.delete()


def _changes(body: Body) -> Iterator[tuple[str, Body]]:
    """The object with one field less, and with one field of its own other, a few times."""
    fields = [key for key in body if key not in ("apiVersion", "kind", "metadata")]
    labelled = copy.deepcopy(body)
    labelled["metadata"]["labels"] = {"jarvis": "yes"}
    yield "with a label", labelled
    for field in fields:
        less = copy.deepcopy(body)
        del less[field]
        yield f"without {field}", less
        if isinstance(body[field], dict):
            for key in body[field]:
                less = copy.deepcopy(body)
                del less[field][key]
                yield f"without {field}.{key}", less
    if (container := _container(body)) is not None:
        for about, change in _OF_A_CONTAINER.items():
            other = copy.deepcopy(body)
            change(_container(other) or container)
            yield about, other


def _container(value: Any) -> Body | None:
    """The first container of a kind that has any."""
    if not isinstance(value, dict):
        return None
    if "containers" in value:
        first: Body = value["containers"][0]
        return first
    found = (_container(item) for item in value.values())
    return next((item for item in found if item is not None), None)


# Lists are compared by position.
_OF_A_CONTAINER: dict[str, Callable[[Body], Any]] = {
    "with another image": lambda container: container.update(image="other"),
    "with one variable less": lambda container: container["env"].pop(),
    "with one variable more": lambda container: container["env"].append({"name": "MORE", "value": "1"}),
    "with another variable first": lambda container: container["env"].insert(0, {"name": "FIRST"}),
    "with a variable that is set": lambda container: container["env"][0].update(value="now"),
    "with a variable by another way": lambda container: container["env"][4].update(value="x", valueFrom=None),
    "with more memory": lambda container: container["resources"]["requests"].update(memory="2048Mi"),
    "with the same memory": lambda container: container["resources"]["requests"].update(memory="1Gi"),
    "with no ports": lambda container: container.pop("ports"),
    "with a port of another name": lambda container: container["ports"][0].update(name="web"),
    "with no command": lambda container: container.update(command=[]),
    "with another command": lambda container: container.update(command=["run", "on"]),
}


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    function.__name__: function
    for function in (
        unreachable,
        without_kubeconfig,
        exists,
        upsert,
        conflict,
        patch_force,
        identifier,
        reset,
        quantities,
        untouched,
    )
}
