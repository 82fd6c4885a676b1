"""Preflight: checks on all servers before anything changes on any of them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from jarvis.config import Environment, Server, ServerRole
from jarvis.config.access import bastion_key_file, key_file, private_key, sudo, user, wait_seconds
from jarvis.config.ports import choices, uses
from jarvis.config.sizes import least_memory_mib, taken_mib
from jarvis.core.component import Component
from jarvis.core.text import read_beside
from jarvis.hosts.base import packages, pinned
from jarvis.hosts.deployment import deployment_id
from jarvis.pki import RandomKey, RandomKeyArgs
from jarvis.remote import Bastion, LocalCheck, LocalCheckArgs, RemoteScript, RemoteScriptArgs, Target
from jarvis.remote.script import read_file
from jarvis.roles import ROLES


def ports(env: Environment, server: Server) -> list[int]:
    """The TCP ports that must be free on ``server``, in order."""
    found = {
        port
        for use in uses(server)
        if use.always and use.protocol == "tcp"
        for port in range(use.first, use.last + 1)
    }
    # SSH's port is in use by preflight itself.
    found |= {
        one.port
        for one in choices(env, server)
        if one.whose != "SSH" and one.always and one.protocol == "tcp"
    }
    return sorted(found)


def target(env: Environment, server: Server) -> Target:
    """``server`` as the remote end of SSH."""
    return Target(
        server=server.name,
        host=str(server.address),
        host_key=server.host_key or "",
        user=user(env, server),
        sudo=sudo(env, server),
        port=server.port or env.ssh.port,
        private_key=_secret(private_key(key_file(env, server))),
        bastion=_bastion(env),
        patience=env.patience,
        wait=wait_seconds(env),
        keep_limits=env.ssh.wait_seconds is None,
    )


def _bastion(env: Environment) -> Bastion | None:
    one = env.ssh.bastion
    if one is None:
        return None
    return Bastion(
        host=one.host,
        host_key=one.host_key or "",
        user=one.user or env.ssh.user,
        port=one.port,
        private_key=_secret(private_key(bastion_key_file(env))),
    )


def _secret(key: str | None) -> pulumi.Output[str] | None:
    return None if key is None else pulumi.Output.secret(key)


def arguments(env: Environment, server: Server) -> dict[str, str]:
    """The arguments of ``preflight.sh`` for ``server``, except for the time."""
    wanted = env.preflight
    return {
        "environment": env.name,
        "server": server.name,
        "address": str(server.address),
        "min_cores": str(wanted.min_cores),
        "min_memory_mib": str(least_memory_mib(env, server)),
        **_memory(env, server),
        "min_disk_gib": str(wanted.min_disk_gib),
        "time_sync": "yes" if wanted.require_time_sync else "no",
        "max_skew": str(wanted.max_clock_skew_seconds),
        "ports": ",".join(map(str, ports(env, server))),
        "packages": ",".join(packages(server)),
        **({"patience": str(env.patience)} if env.patience > 1 else {}),
        **({"take_over": server.take_over} if server.take_over else {}),
        **({"interface": server.interface} if server.interface else {}),
        **(_disk(server) if ServerRole.STORAGE in server.roles else {}),
    }


def role_arguments(env: Environment, server: Server) -> dict[str, str]:
    """The arguments of ``preflight-roles.sh`` for ``server``; empty where its roles ask for nothing of it."""
    own = [ROLES[role] for role in sorted(server.roles)]
    udp = {
        port
        for use in uses(server)
        if use.always and use.protocol == "udp"
        for port in range(use.first, use.last + 1)
    }
    udp |= {one.port for one in choices(env, server) if one.always and one.protocol == "udp"}
    asked = {
        "packages": ",".join(f"{name}={series}" for name, series in pinned(server)),
        "modules": ",".join(sorted({name for role in own for name in role.modules})),
        "udp_ports": ",".join(map(str, sorted(udp))),
    }
    found = {name: value for name, value in asked.items() if value}
    return {"environment": env.name, "server": server.name, **found} if found else {}


def _memory(env: Environment, server: Server) -> dict[str, str]:
    """Names of the fields that ask for more memory than preflight itself does."""
    if least_memory_mib(env, server) == env.preflight.min_memory_mib:
        return {}
    return {"memory_fields": ",".join(taken_mib(env, server))}


def _disk(server: Server) -> dict[str, str]:
    """Where the osd of ``server`` is to be."""
    if server.osd.device:
        return {"osd_device": server.osd.device}
    return {"osd_file": server.osd.path, "osd_gib": str(server.osd.size_gib)}


@dataclass(frozen=True, kw_only=True)
class PreflightArgs:
    """The servers to check.

    Attributes:
        env: the environment.
    """

    env: Environment


class Preflight(Component, token="hosts:Preflight"):
    """Waits for every server, and checks each by itself and all of them together.

    Every host depends on ``ready``, so nothing changes on any server before all have passed. Mistakes come as
    one list per server.

    Attributes:
        ready: the check of all servers together, which comes last.
        deployment: id of this state's deployment, which its servers are marked with.
    """

    ready: pulumi.Resource
    deployment: pulumi.Output[str]

    def __init__(self, name: str, args: PreflightArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(name, opts)
        env = args.env
        key = RandomKey(f"{name}-deployment", RandomKeyArgs(bytes=16), self.child())
        self.deployment = pulumi.Output.unsecret(key.value.apply(deployment_id))
        outputs: dict[str, pulumi.Output[str]] = {}
        checks: list[pulumi.Resource] = []
        for server in env.present:
            # A time in the past, read once: the current time as an argument would change in each run.
            clock = LocalCheck(
                f"{server.name}-clock", LocalCheckArgs(command="exec date -u +%s"), self.child()
            )
            words = [f"{key}={value}" for key, value in arguments(env, server).items()]
            check = RemoteScript(
                f"{server.name}-preflight",
                RemoteScriptArgs(
                    target=target(env, server),
                    script=read_beside(__file__, "preflight.sh"),
                    library=read_file("packaged.sh"),
                    arguments=[
                        *words,
                        self.deployment.apply(lambda known: f"deployment={known}"),
                        clock.stdout.apply(lambda text: f"not_before={text.strip()}"),
                    ],
                    again=["known=yes"],
                ),
                self.child(),
            )
            outputs[server.name] = check.stdout
            asked = role_arguments(env, server)
            if asked:
                checks.append(
                    RemoteScript(
                        f"{server.name}-preflight-roles",
                        RemoteScriptArgs(
                            target=target(env, server),
                            script=read_beside(__file__, "preflight-roles.sh"),
                            arguments=[f"{key}={value}" for key, value in asked.items()],
                        ),
                        self.child(depends_on=[check]),
                    )
                )
        skew = env.preflight.max_clock_skew_seconds
        self.ready = LocalCheck(
            name,
            LocalCheckArgs(
                command="exec python3 jarvis/hosts/agreement.py",
                stdin=pulumi.Output.all(**outputs).apply(
                    lambda known: json.dumps({"servers": known, "max_skew": skew}, sort_keys=True)
                ),
            ),
            self.child(depends_on=checks),
        )
        self.register_outputs({})
