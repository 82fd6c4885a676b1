"""Kernel settings: those that a server of Kubernetes needs, and whether the operator's leave them alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jarvis.config.types import Place

if TYPE_CHECKING:
    from jarvis.config.environment import Environment

# https://kubernetes.io/docs/setup/production-environment/container-runtimes/
NEEDED = {
    "net.ipv4.ip_forward": ("1", "pods are routed"),
    "net.bridge.bridge-nf-call-iptables": ("1", "what goes through a bridge must see the rules of Services"),
}
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_:@-]+)+")
# The same for each interface: `all` of it is ip_forward itself
# (https://docs.kernel.org/networking/ip-sysctl.html, conf/all/forwarding).
_FORWARDING = re.compile(r"net\.ipv4\.conf\.[^.]+\.forwarding")


def sysctls(env: Environment) -> Iterator[tuple[Place, str]]:
    """What is wrong with the kernel settings of the servers of ``env``, one sentence for each."""
    for at, server in enumerate(env.servers):
        for name, value in server.sysctls.items():
            why = sysctl_mistake(name, value)
            if why:
                yield ("servers", at, "sysctls", name), why


def sysctl_mistake(name: str, value: str) -> str:
    """Why the setting ``name`` cannot be ``value``; empty where nothing is known against it."""
    if not _NAME.fullmatch(name):
        dotted = name.lstrip("-").replace("/", ".")
        hint = f"{dotted}" if _NAME.fullmatch(dotted) else "net.core.somaxconn"
        return f"not the name of a kernel setting as it is written here, such as {hint}"
    needed, why = NEEDED.get(name, ("", ""))
    if _FORWARDING.fullmatch(name):
        needed, why = NEEDED["net.ipv4.ip_forward"]
    if needed and value != needed:
        return f"{value!r} is not possible, since {why}: it is {needed} on every server; remove this line"
    if not value:
        return "has no value"
    return ""
