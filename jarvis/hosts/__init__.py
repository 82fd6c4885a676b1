"""Servers: preflight, the base before any role, and the release of binaries."""

from jarvis.hosts.base import endpoint_names, packages
from jarvis.hosts.host import Host, HostArgs
from jarvis.hosts.lost import LostServer, LostServerArgs
from jarvis.hosts.preflight import Preflight, PreflightArgs, target

__all__ = [
    "Host",
    "HostArgs",
    "LostServer",
    "LostServerArgs",
    "Preflight",
    "PreflightArgs",
    "endpoint_names",
    "packages",
    "target",
]
