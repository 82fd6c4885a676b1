"""The CIS Kubernetes Benchmark: each control by its number, with what must hold here, or why it does not.

``cis-1.12.yaml`` has the controls in words of our own, and its head says what a check looks like. Checks are
made of a deployment (``Deployed``), and those that need no server of what the program declares
(``tests/unit/test_cis.py``).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from jarvis.core.tls import CIPHER_SUITES
from tests.audits.finding import Finding
from tests.lab.deployment import Cloud

FILE = Path(__file__).with_name("cis-1.12.yaml")
RESULTS = ("pass", "explained", "not applicable")
CHECKS = ("flags", "config", "files", "absent", "command", "pods", "grants", "admins")
# Where a server has the configuration that a check names.
CONFIGS = {
    "admission": "/etc/kubernetes/apiserver/admission.yaml",
    "audit-policy": "/etc/kubernetes/apiserver/audit-policy.yaml",
    "kube-proxy": "/etc/kubernetes/kube-proxy/config.yaml",
    "kubelet": "/etc/kubernetes/kubelet/config.yaml",
}
# The mark of Kubernetes' own roles, which the API server makes again: default RBAC, in every cluster.
_OWN = ("kubernetes.io/bootstrapping", "rbac-defaults")
Object = Mapping[str, Any]


@dataclass(frozen=True)
class Control:
    """One control of the benchmark.

    - ``number``, ``title``: its number, and what it asks for in our words.
    - ``result``: one of ``RESULTS``. ``why``: for what does not pass, and where a pass needs a word.
    - ``checks``: what must hold, also for an explanation; each of one of the kinds ``CHECKS``.
    """

    number: str
    title: str
    result: str
    checks: Sequence[Mapping[str, Any]]
    why: str

    @property
    def order(self) -> list[int]:
        return [int(part) for part in self.number.split(".")]


class Seen(Protocol):
    """What is looked at. ``None`` where it cannot be seen from here."""

    def flags(self, program: str) -> Mapping[str, Mapping[str, str]] | None:
        """By server, the flags that ``program`` runs with."""

    def config(self, name: str) -> Mapping[str, Any] | None:
        """By server, the configuration ``name`` of ``CONFIGS``."""

    def files(self, pattern: str) -> Iterable[tuple[str, str, int, str]] | None:
        """Server, path, mode and owner of each file whose path looks like ``pattern``."""

    def run(self, command: str) -> Mapping[str, str] | None:
        """By server, what ``command`` prints."""

    def objects(self, kind: str) -> Sequence[Object]:
        """The objects of ``kind``: pods, roles, clusterroles or clusterrolebindings."""


def controls(file: Path = FILE) -> list[Control]:
    """Those of the benchmark, in order. Raises ``TypeError`` for an entry of another form."""
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))
    return [
        Control(
            number=str(number),
            title=entry.pop("title"),
            result=entry.pop("result", "pass"),
            why=" ".join(entry.pop("why", "").split()),
            checks=_checks(number, entry),
        )
        for number, entry in entries.items()
    ]


def _checks(number: str, entry: dict[str, Any]) -> list[Mapping[str, Any]]:
    listed = entry.pop("checks", [entry] if entry else [])
    for check in listed:
        if sum(kind in check for kind in CHECKS) != 1:
            raise TypeError(f"{number}: a check is of one kind of {', '.join(CHECKS)}: {check}")
    return list(listed)


def wrong(want: str, found: str | None) -> bool:
    """Whether ``found`` (``None``: not set) is not what ``want`` says: one of ``set``, ``unset``, ``is X``,
    ``is not X``, ``has X`` and ``lacks X`` (of a list), ``at least N``, and ``strong ciphers``."""
    if want == "unset":
        return found is not None
    if found is None:
        return not want.startswith(("lacks ", "is not "))
    listed = found.split(",")
    if want == "set":
        return not found
    if want == "strong ciphers":
        return not set(listed) <= set(CIPHER_SUITES)
    if want.startswith("at least "):
        return float(found) < float(want.removeprefix("at least "))
    if want.startswith("has "):
        return want.removeprefix("has ") not in listed
    if want.startswith("lacks "):
        return want.removeprefix("lacks ") in listed
    if want.startswith("is not "):
        return found == want.removeprefix("is not ")
    if want.startswith("is "):
        return found != want.removeprefix("is ")
    raise ValueError(f"a check does not know what {want!r} is")


def field(document: Any, path: str) -> str | None:
    """The field of ``document`` at ``path``, names and numbers with dots between, as a flag would have it."""
    for part in path.split("."):
        if isinstance(document, list):
            document = document[int(part)] if int(part) < len(document) else None
        else:
            document = (document or {}).get(part)
    if document is None:
        return None
    if isinstance(document, list):
        return ",".join(map(str, document))
    return str(document).lower() if isinstance(document, bool) else str(document)


def problems(control: Control, seen: Seen) -> Iterator[str]:
    """What of ``control`` does not hold; checks that cannot be made by ``seen`` are passed over."""
    for check in control.checks:
        kind = next(kind for kind in CHECKS if kind in check)
        yield from sorted(set(_KINDS[kind](check, seen)))


def _flags(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    for flags in (seen.flags(check["flags"]) or {}).values():
        for name, want in check["want"].items():
            if wrong(want, flags.get(name)):
                yield f"{check['flags']}: --{name} is {flags.get(name, 'not set')}, not: {want}"


def _config(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    for document in (seen.config(check["config"]) or {}).values():
        for path, want in check["want"].items():
            found = field(document, path)
            if wrong(want, found):
                yield f"{check['config']}: {path} is {found or 'not set'}, not: {want}"


def _files(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    found = seen.files(check["files"])
    if found is None:
        return
    listed = list(found)
    if not listed:
        yield f"there is no file {check['files']}"
    for _, path, mode, owner in listed:
        if mode & ~int(check.get("mode", "777"), 8):
            yield f"{path} has the mode {mode:o}, which is more than {check['mode']}"
        if owner not in check.get("owner", owner).split(" or "):
            yield f"{path} is of {owner}, not of {check['owner']}"


def _absent(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    for _, path, _, _ in seen.files(check["absent"]) or ():
        yield f"{path} is there"


def _command(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    for printed in (seen.run(check["command"]) or {}).values():
        yield from filter(None, printed.splitlines())


def _pods(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    rule = PODS[check["pods"]]
    for pod in seen.objects("pods"):
        metadata = pod["metadata"]
        namespace = metadata.get("namespace", "default")
        if namespace not in check.get("except", []):
            for why in rule(namespace, pod["spec"]):
                yield f"{namespace}/{metadata['name']}: {why}"


def _grants(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    """Roles beside Kubernetes' own that let somebody do any of ``verbs`` to any of ``resources``, or to all
    where none is named; one that names the objects it is for counts where ``named`` says so."""
    asked = check["grants"]
    verbs, resources = {*asked["verbs"], "*"}, {*asked.get("resources", []), "*"}
    for role in own_roles(seen):
        for rule in role.get("rules") or []:
            what, does = set(rule.get("resources", [])), set(rule["verbs"])
            if rule.get("resourceNames") and not asked.get("named", True):
                continue
            meant = "resources" not in asked or what & resources
            if (meant and does & verbs) or ("*" in asked["verbs"] and "*" in what):
                yield f"the role {role['metadata']['name']} grants {sorted(does)} of {sorted(what)}"


def _admins(check: Mapping[str, Any], seen: Seen) -> Iterator[str]:
    for binding in seen.objects("clusterrolebindings"):
        name, role = binding["metadata"]["name"], binding["roleRef"]["name"]
        if role == "cluster-admin" and name not in ("cluster-admin", *check["admins"]):
            yield f"{name} binds cluster-admin"


def own_roles(seen: Seen) -> Iterator[Object]:
    """All roles but those that every cluster has."""
    for kind in ("roles", "clusterroles"):
        for role in seen.objects(kind):
            if role["metadata"].get("labels", {}).get(_OWN[0]) != _OWN[1]:
                yield role


_KINDS: Mapping[str, Callable[[Mapping[str, Any], Seen], Iterator[str]]] = {
    "flags": _flags,
    "config": _config,
    "files": _files,
    "absent": _absent,
    "command": _command,
    "pods": _pods,
    "grants": _grants,
    "admins": _admins,
}


def _containers(spec: Object) -> Iterator[tuple[Object, Object]]:
    """Each container of a pod, and its security context."""
    for one in [*spec.get("initContainers", []), *spec["containers"]]:
        yield one, one.get("securityContext", {})


def _each(
    test: Callable[[Object, Object, Object], bool], said: str
) -> Callable[[str, Object], Iterator[str]]:
    """A rule that finds the containers for which ``test`` (pod, container, its context) is true."""

    def rule(_: str, spec: Object) -> Iterator[str]:
        for container, context in _containers(spec):
            if test(spec, container, context):
                yield f"{container['name']} {said}"

    return rule


def _one(test: Callable[[str, Object], bool], said: str) -> Callable[[str, Object], Iterator[str]]:
    """A rule that finds the pods for which ``test`` (namespace, pod) is true."""

    def rule(namespace: str, spec: Object) -> Iterator[str]:
        if test(namespace, spec):
            yield said

    return rule


def _mounts_token(spec: Object) -> bool:
    return bool(spec.get("automountServiceAccountToken", True))


def _drops_all(context: Object) -> bool:
    return "ALL" in context.get("capabilities", {}).get("drop", [])


PODS: Mapping[str, Callable[[str, Object], Iterator[str]]] = {
    "privileged": _each(lambda pod, one, own: bool(own.get("privileged")), "is privileged"),
    "host-pid": _one(lambda where, pod: bool(pod.get("hostPID")), "has the server's processes"),
    "host-ipc": _one(lambda where, pod: bool(pod.get("hostIPC")), "has the server's shared memory"),
    "host-network": _one(lambda where, pod: bool(pod.get("hostNetwork")), "has the server's network"),
    "escalation": _each(
        lambda pod, one, own: own.get("allowPrivilegeEscalation") is not False, "may gain privileges"
    ),
    "root": _each(
        lambda pod, one, own: not {**pod.get("securityContext", {}), **own}.get("runAsNonRoot"),
        "may run as root",
    ),
    "capabilities": _each(lambda pod, one, own: not _drops_all(own), "keeps capabilities"),
    "added-capabilities": _each(
        lambda pod, one, own: bool(own.get("capabilities", {}).get("add")), "is given capabilities"
    ),
    "windows": _each(lambda pod, one, own: "windowsOptions" in own, "is of Windows"),
    "host-path": _one(
        lambda where, pod: any("hostPath" in volume for volume in pod.get("volumes", [])),
        "mounts a path of the server",
    ),
    "host-port": _each(
        lambda pod, one, own: any(port.get("hostPort") for port in one.get("ports", [])),
        "has a port of the server",
    ),
    "token": _one(lambda where, pod: _mounts_token(pod), "mounts a token"),
    "default-account": _one(
        lambda where, pod: pod.get("serviceAccountName", "default") == "default" and _mounts_token(pod),
        "mounts the token of the account default",
    ),
    "no-digest": _each(
        lambda pod, one, own: "@sha256:" not in str(one["image"]), "has an image by no digest"
    ),
    "no-seccomp": _one(
        lambda where, pod: (
            pod.get("securityContext", {}).get("seccompProfile", {}).get("type") != "RuntimeDefault"
        ),
        "has no seccomp profile",
    ),
    "writable": _each(lambda pod, one, own: not own.get("readOnlyRootFilesystem"), "may write to its image"),
    "default-namespace": _one(lambda where, pod: where == "default", "is in the namespace default"),
}


@dataclass(frozen=True)
class Deployed:
    """A deployment as its servers and its API show it."""

    cloud: Cloud

    def flags(self, program: str) -> Mapping[str, Mapping[str, str]]:
        """Of the process that runs, and not of its unit."""
        pid = f"$(systemctl show --property MainPID --value {program}.service)"
        found = {}
        for server, line in self.cloud.each(f"tr '\\0' '\\n' </proc/{pid}/cmdline"):
            words = [word.removeprefix("--") for word in line.splitlines()[1:]]
            found[server] = {name: value for name, _, value in (word.partition("=") for word in words)}
        return found

    def config(self, name: str) -> Mapping[str, Any]:
        return {server: yaml.safe_load(text) for server, text in self.cloud.each(f"cat {CONFIGS[name]}")}

    def files(self, pattern: str) -> Iterator[tuple[str, str, int, str]]:
        look = '[ ! -e "$f" ] || stat -c \'%a %U:%G %n\' "$f"'
        command = f"shopt -s nullglob globstar; for f in {pattern}; do {look}; done"
        for server, text in self.cloud.each(f"bash -c {_quoted(command)}"):
            for line in text.splitlines():
                mode, owner, path = line.split(" ", 2)
                yield server, path, int(mode, 8), owner

    def run(self, command: str) -> Mapping[str, str]:
        # That nothing was found is no fault, and a tool that could not look is one.
        return dict(self.cloud.each(f"bash -c {_quoted(f'{{ {command}; }} 2>&1; true')}"))

    def objects(self, kind: str) -> Sequence[Object]:
        return self.cloud.objects(kind, "--all-namespaces")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def findings(cloud: Cloud) -> Iterator[Finding]:
    """What of the benchmark does not hold in a deployment."""
    seen = Deployed(cloud)
    for control in controls():
        for problem in problems(control, seen):
            yield Finding("cis", control.number, problem)


def matching(pattern: str, path: str) -> bool:
    """Whether ``path`` is one of the ``pattern``'s: words of bash's globs, ``**`` for any folders."""
    return any(fnmatch.fnmatchcase(path, word.replace("**/", "*")) for word in pattern.split())


def markdown(known: Iterable[Control]) -> str:
    """The table of docs/audits.md."""
    lines = ["| control | what it asks for | result | looked at | why |", "|---|---|---|---|---|"]
    for one in sorted(known, key=lambda one: one.order):
        looked = "; ".join(map(_told, one.checks))
        lines.append(f"| {one.number} | {one.title} | {one.result} | {looked} | {one.why} |")
    return "\n".join(lines) + "\n"


def _told(check: Mapping[str, Any]) -> str:
    """A check in a few words."""
    kind = next(kind for kind in CHECKS if kind in check)
    named = check[kind]
    if kind in ("flags", "config"):
        return f"{named}: " + ", ".join(f"`{name}` {want}" for name, want in check["want"].items())
    if kind == "pods":
        but = f", but those of {', '.join(check['except'])}" if "except" in check else ""
        return f"no pod `{named}`{but}"
    return {
        "files": f"rights of `{named}`",
        "absent": f"no `{named}`",
        "command": str(check.get("says", "a command on the servers")),
        "grants": "every role that is not Kubernetes' own",
        "admins": "every binding of cluster-admin",
    }[kind]
