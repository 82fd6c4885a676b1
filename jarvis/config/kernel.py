"""Whether the operator's kernel settings leave alone those that a server needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from jarvis.roles import BASE, ServerRole, declared
from jarvis.roles.model import Sysctl

_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_:@-]+)+")
# Forwarding of one interface; that of `all` is ip_forward itself
# (https://docs.kernel.org/networking/ip-sysctl.html, conf/all/forwarding).
_FORWARDING = re.compile(r"net\.ipv4\.conf\.[^.]+\.forwarding")


def sysctls(roles: Iterable[ServerRole]) -> dict[str, Sysctl]:
    """The kernel settings of a server with ``roles``, by name."""
    return {one.name: one for role in declared(roles) for one in role.sysctls}


def fixed(roles: Iterable[ServerRole]) -> dict[str, Sysctl]:
    """Those of them that can have no other value."""
    return {name: one for name, one in sysctls(roles).items() if one.why}


def sysctl_mistake(name: str, value: str, needed: Mapping[str, Sysctl]) -> str:
    """Why the kernel setting ``name`` cannot be ``value``; empty where nothing is known against it.

    Args:
        name: its name.
        value: what the configuration says.
        needed: settings that can have no other value, by name (``fixed``).
    """
    if not _NAME.fullmatch(name):
        dotted = name.lstrip("-").replace("/", ".")
        hint = dotted if _NAME.fullmatch(dotted) else "net.core.somaxconn"
        return f"not the name of a kernel setting as it is written here, such as {hint}"
    one = needed.get("net.ipv4.ip_forward" if _FORWARDING.fullmatch(name) else name)
    if one and value != one.value:
        where = "on every server" if one in BASE.sysctls else "on servers with this one's roles"
        return f"{value!r} is not possible, since {one.why}: it is {one.value} {where}; remove this line"
    if not value:
        return "has no value"
    return ""
