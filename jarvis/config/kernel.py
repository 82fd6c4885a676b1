"""Kernel settings that Kubernetes needs, and whether the operator's settings leave them alone."""

from __future__ import annotations

import re

# https://kubernetes.io/docs/setup/production-environment/container-runtimes/
NEEDED = {
    "net.ipv4.ip_forward": ("1", "pods are routed"),
    "net.bridge.bridge-nf-call-iptables": ("1", "what goes through a bridge must see the rules of Services"),
}
_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_:@-]+)+")
# Forwarding of one interface; that of `all` is ip_forward itself
# (https://docs.kernel.org/networking/ip-sysctl.html, conf/all/forwarding).
_FORWARDING = re.compile(r"net\.ipv4\.conf\.[^.]+\.forwarding")


def sysctl_mistake(name: str, value: str) -> str:
    """Why the kernel setting ``name`` cannot be ``value``; empty where nothing is known against it."""
    if not _NAME.fullmatch(name):
        dotted = name.lstrip("-").replace("/", ".")
        hint = dotted if _NAME.fullmatch(dotted) else "net.core.somaxconn"
        return f"not the name of a kernel setting as it is written here, such as {hint}"
    needed, why = NEEDED.get(name, ("", ""))
    if _FORWARDING.fullmatch(name):
        needed, why = NEEDED["net.ipv4.ip_forward"]
    if needed and value != needed:
        return f"{value!r} is not possible, since {why}: it is {needed} on every server; remove this line"
    if not value:
        return "has no value"
    return ""
