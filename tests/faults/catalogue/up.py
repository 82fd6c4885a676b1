"""SIGKILL of ``pulumi up`` in the middle of five changes, each followed by one ``up``, which finishes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.faults.fault import Fault
from tests.lab.deployment import Cloud


def killed(name: str, title: str, kind: str, resource: str, **change: Mapping[str, Any]) -> Fault:
    """``change`` laid over the configuration, killed at the resource whose type begins with ``kind`` and
    whose name ends with ``resource``. It stays: the next ``up`` would take it back otherwise."""

    def strike(cloud: Cloud) -> None:
        stack = cloud.stack
        stack.environment = stack.changed(**change)
        stack.configure(stack.environment)
        stack.kill_up(kind, resource)

    def mend(cloud: Cloud) -> None:
        cloud.stack.up()
        assert not [one["urn"] for one in cloud.stack.state() if one.get("delete")]

    return Fault(
        name=f"up-{name}", title=f"`pulumi up` killed at {title}, then one `up`", strike=strike, mend=mend
    )


def faults(cloud: Cloud) -> Iterator[Fault]:
    command = "command:remote:Command "
    second, last = cloud.servers[1], cloud.servers[-1]
    now = cloud.stack.environment
    flags = now.get("kubernetes", {}).get("apiserver_flags", {})
    # Another value than there is, so that each run has something to change.
    inflight = 402 if flags.get("max-requests-inflight") == 401 else 401
    options = now.get("openstack", {}).get("keystone", {}).get("options", {})
    turn = now.get("rotations", {}).get("etcd-" + second, 0) + 1
    yield killed("etcd", "a member of etcd", command, f"etcd-{second}", rotations={f"etcd-{second}": turn})
    yield killed(
        "apiserver",
        "an API server",
        command,
        f"{second}-control-plane-apiserver",
        kubernetes={"apiserver_flags": {**flags, "max-requests-inflight": inflight}},
    )
    yield killed(
        "kubelet", "a node", command, f"{last}-node-kubelet", rotations={f"kubernetes-kubelet-{last}": turn}
    )
    yield killed(
        "account",
        "the database's account",
        command,
        "keystone-database",
        rotations={"keystone-database": turn},
    )
    yield killed(
        "pods",
        "Keystone's pods",
        "kubernetes:apps/v1:Deployment ",
        "keystone",
        openstack={"keystone": {"options": {**options, "token.expiration": 3600 + turn}}},
    )
