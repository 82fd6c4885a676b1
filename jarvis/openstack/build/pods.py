"""The pods of a service: the template of its Deployment and of its Jobs, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from jarvis.core.objects import SEEN
from jarvis.core.pods import (
    RESTRICTED_CONTAINER,
    labels,
    leave_lost_servers,
    patient,
    restricted_pod,
    selector,
    spread_over_servers,
)
from jarvis.openstack.model import AUTHORITIES, AUTHORITIES_FOLDER, DRAIN

# Seconds that a pod which is to stop serves on, until every gateway has seen in DNS that it goes (they ask
# every second, and keep what vanished for two more).
GOODBYE = 8
# Seconds without a byte of a request's body after which it is given up, as in the gateway (timeout client).
PAUSE = 60
# The variables that have a pod's own address, and the name of the server that it is on.
ADDRESS, SERVER = "POD_ADDRESS", "SERVER_NAME"
# Seconds until a Job or a roll-out counts as failed: an image may have to be pulled first.
PATIENCE = 600
SCRIPTS_FOLDER = "/etc/jarvis/scripts"
# Where a pod that speaks to the API of Kubernetes has its token, and the authority of that API.
ACCOUNT_FOLDER = "/etc/jarvis/account"
# Seconds that such a token is good for: the least that Kubernetes gives.
_TOKEN_SECONDS = 600
# What uWSGI itself says, and what anybody prints beside the log, in the form of the service's own JSON.
_SERVER_LINE = (
    '{"asctime": "${strftime:%Y-%m-%d %H:%M:%S}", "name": "uwsgi", "levelname": "INFO", '
    '"message": "${msg}"}\n'
)


@dataclass(frozen=True, kw_only=True)
class PodArgs:
    """What the pods of one process of a service have in common with Jobs that have its options.

    Attributes:
        service: name of the service.
        user: user and group of its image.
        image: reference of the image.
        config_maps: names of ConfigMaps that become the environment.
        secrets: names of Secrets that become the environment.
        files: names of ConfigMaps by the path of the folder where their keys are files.
        folders: names of Secrets, likewise.
        scratch: GiB of space by the path of a folder for files that go with the pod.
        addressed: variables in which ``$(POD_ADDRESS)`` is the pod's address, and ``$(SERVER_NAME)`` its
            server's name.
        memory_mib: most memory of a container; half of it is set aside.
        account: the service account by whose token it speaks to Kubernetes; most have none.
    """

    service: str
    user: int
    image: pulumi.Input[str]
    config_maps: Sequence[str] = ()
    secrets: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    scratch: Mapping[str, int] = field(default_factory=dict)
    addressed: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int = 512
    account: str | None = None


def uwsgi_command(
    *, module: str, port: int, processes: int, threads: int = 1, drain: int = DRAIN
) -> list[str]:
    """Command line of uWSGI. All is in flags: it shares the environment with the service.

    Args:
        module: the WSGI application.
        port: TCP port.
        processes: worker processes.
        threads: requests at once of one process.
        drain: seconds for requests under way at its end.
    """
    return [
        "uwsgi",
        f"--http-socket=:{port}",
        # The outermost layer of all services answers what they do not (images/openstack/answering.py).
        "--module=answering:application()",
        f"--set-placeholder=application={module}",
        f"--processes={processes}",
        *([f"--threads={threads}"] if threads > 1 else []),
        "--master",
        "--need-app",
        # Each process loads the application after the fork: none shares a connection with another.
        "--lazy-apps",
        "--enable-threads",
        # SIGTERM lets requests under way end; die-on-term would cut them.
        "--hook-master-start=unix_signal:15 gracefully_kill_them_all",
        # The master waits for its workers without a limit, and one that still loads would not hear SIGHUP.
        "--hook-post-fork=unix_signal:1 _exit",
        f"--worker-reload-mercy={drain}",
        # The default of 4 s would cut a client whose upload pauses for longer.
        f"--socket-timeout={PAUSE}",
        f"--chunked-input-timeout={PAUSE}",
        "--buffer-size=65535",
        # For threads alone. Of a few processes who holds it has to wait for a processor before the others may
        # take the next request: on a busy machine that was four fifths of the validations a second.
        *(["--thunder-lock"] if threads > 1 else []),
        "--add-header=Connection: close",
        # The gateway logs each request, and the service what it does about it.
        "--disable-logging",
        # All output passes the master: a line that is JSON as it is, any other as the message of one.
        "--log-master",
        # Longer lines would be cut, and no longer be JSON: those with a traceback are the longest.
        "--log-master-bufsize=65536",
        "--logger=service stdio",
        "--logger=server stdio",
        r"--log-drain=^\s*$",
        r"--log-route=service ^\{",
        "--log-route=server ^[^{]",
        f"--log-encoder=json:server {_SERVER_LINE}",
    ]


def web_template(
    args: PodArgs,
    *,
    component: str = "api",
    command: Sequence[str],
    port: int,
    health: str,
    revision: pulumi.Input[str],
    drain: int = DRAIN,
    patience: int = 1,
) -> dict[str, Any]:
    """The pods of a process that serves HTTP.

    Args:
        args: what they have.
        component: the process's name in their labels.
        command: what runs.
        port: TCP port.
        health: a path that answers 200.
        revision: a new value replaces the pods, one by one.
        drain: seconds that requests under way have.
        patience: of the environment.
    """

    def probe(period: int, failures: int, seconds: int) -> dict[str, Any]:
        return {
            "httpGet": {"path": health, "port": "http"},
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": seconds,
        }

    serving = {
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "startupProbe": probe(1, 120, 2),
        "readinessProbe": probe(3, 3, 5),
        # Only a process that answers nothing for a whole minute is beyond waiting.
        "livenessProbe": probe(10, 6, 10),
        "lifecycle": {"preStop": {"sleep": {"seconds": GOODBYE}}},
    }
    return _lasting(args, component, command, serving, revision, GOODBYE + drain + 5, patience)


def worker_template(
    args: PodArgs,
    *,
    component: str,
    command: Sequence[str],
    probe: Sequence[str],
    period: int,
    revision: pulumi.Input[str],
    drain: int = DRAIN,
    patience: int = 1,
) -> dict[str, Any]:
    """The pods of a process that takes its work from the queue or the clock.

    Args:
        args: what they have.
        component: the process's name in their labels.
        command: what runs.
        probe: a command that ends with 0 while it works.
        period: seconds between two probes.
        revision: a new value replaces the pods, one by one.
        drain: seconds that work under way has.
        patience: of the environment.
    """

    def execute(period: int, failures: int) -> dict[str, Any]:
        return {
            "exec": {"command": list(probe)},
            "periodSeconds": period,
            "failureThreshold": failures,
            "timeoutSeconds": 10,
        }

    working = {"startupProbe": execute(2, 120), "livenessProbe": execute(period, 6)}
    return _lasting(args, component, command, working, revision, drain + 5, patience)


def _lasting(
    args: PodArgs,
    component: str,
    command: Sequence[str],
    more: dict[str, Any],
    revision: pulumi.Input[str],
    seconds: int,
    patience: int,
) -> dict[str, Any]:
    """Pods that run until they are told to end, and have ``seconds`` for that."""
    container = _container(args, args.service, command) | more
    template = {
        "metadata": {
            "labels": labels(args.service, component, "openstack"),
            "annotations": {"jarvis.internal/revision": revision},
        },
        "spec": {
            **_pod(args, container),
            "terminationGracePeriodSeconds": seconds,
            "tolerations": leave_lost_servers(),
            "topologySpreadConstraints": spread_over_servers(selector(args.service, component)),
        },
    }
    return patient(template, patience)


def job_template(
    args: PodArgs,
    *,
    task: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    secrets: Mapping[str, tuple[str, str]],
    scripts: str | None,
    revision: pulumi.Input[str] | None,
    seen: Sequence[str] = (),
) -> dict[str, Any]:
    """The pod that runs a command once.

    Args:
        args: what it has.
        task: its name in labels.
        command: what runs.
        variables: added to its environment.
        secrets: likewise, each a Secret and a key in it.
        scripts: a ConfigMap that it finds in ``SCRIPTS_FOLDER``.
        revision: a new value makes another pod.
        seen: lines that a preview shows.
    """
    container = _container(args, task, command)
    container["env"] += [{"name": key, "value": text} for key, text in variables.items()]
    container["env"] += [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for variable, (secret, key) in secrets.items()
    ]
    if args.account is not None:
        label = "metadata.labels['batch.kubernetes.io/controller-uid']"
        container["env"].append({"name": "RING_JOB", "valueFrom": {"fieldRef": {"fieldPath": label}}})
    pod = _pod(args, container)
    if scripts is not None:
        container["volumeMounts"].append({"name": "scripts", "mountPath": SCRIPTS_FOLDER, "readOnly": True})
        pod["volumes"].append({"name": "scripts", "configMap": {"name": scripts}})
    annotations = {
        **({} if revision is None else {"jarvis.internal/revision": revision}),
        **({SEEN: "\n".join(seen)} if seen else {}),
    }
    return {
        "metadata": {
            "labels": labels(args.service, task, "openstack"),
            **({"annotations": annotations} if annotations else {}),
        },
        # In place and again until it succeeds: it never counts as failed, and the next `pulumi up` waits on.
        "spec": {**pod, "restartPolicy": "OnFailure", "tolerations": leave_lost_servers()},
    }


def _pod(args: PodArgs, container: dict[str, Any]) -> dict[str, Any]:
    folders = [
        {"name": secret, "secret": {"secretName": secret, "defaultMode": 0o440}}
        for secret in args.folders.values()
    ]
    folders += [{"name": name, "configMap": {"name": name}} for name in args.files.values()]
    scratch = [
        {"name": _volume(path), "emptyDir": {"sizeLimit": f"{gib}Gi"}} for path, gib in args.scratch.items()
    ]
    account = [] if args.account is None else [_account_volume()]
    return {
        **({} if args.account is None else {"serviceAccountName": args.account}),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": restricted_pod(args.user),
        # Kubernetes keeps no empty list, and after a refresh one would look like a change.
        "containers": [{key: value for key, value in container.items() if value != []}],
        "volumes": [
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": AUTHORITIES, "configMap": {"name": AUTHORITIES}},
            *folders,
            *scratch,
            *account,
        ],
    }


def _account_volume() -> dict[str, Any]:
    """A short-lived token of the pod's service account, and the authority of the API that it is for."""
    token = {"path": "token", "expirationSeconds": _TOKEN_SECONDS}
    authority = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    sources = [{"serviceAccountToken": token}, {"configMap": authority}]
    return {"name": "account", "projected": {"sources": sources}}


def _container(args: PodArgs, name: str, command: Sequence[str]) -> dict[str, Any]:
    sources = [{"configMapRef": {"name": each}} for each in args.config_maps]
    sources += [{"secretRef": {"name": each}} for each in args.secrets]
    mounted = {**args.folders, **args.files}
    folders = [{"name": name, "mountPath": path, "readOnly": True} for path, name in mounted.items()]
    scratch = [{"name": _volume(path), "mountPath": path} for path in args.scratch]
    account = (
        [] if args.account is None else [{"name": "account", "mountPath": ACCOUNT_FOLDER, "readOnly": True}]
    )
    variables: list[dict[str, Any]] = [
        {"name": name, "value": text} for name, text in sorted(args.addressed.items())
    ]
    for own, path in ((SERVER, "spec.nodeName"), (ADDRESS, "status.podIP")):
        if any(f"$({own})" in text for text in args.addressed.values()):
            # Before those that name it: only then they have its value.
            variables.insert(0, {"name": own, "valueFrom": {"fieldRef": {"fieldPath": path}}})
    return {
        "name": name,
        "image": args.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "envFrom": sources,
        "env": variables,
        "resources": {
            "requests": {"cpu": "100m", "memory": f"{args.memory_mib // 2}Mi"},
            # No limit of CPU: throttling would only make requests late.
            "limits": {"memory": f"{args.memory_mib}Mi"},
        },
        "securityContext": dict(RESTRICTED_CONTAINER),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": AUTHORITIES, "mountPath": AUTHORITIES_FOLDER, "readOnly": True},
            *folders,
            *scratch,
            *account,
        ],
    }


def _volume(path: str) -> str:
    return path.strip("/").replace("/", "-").replace("_", "-")
