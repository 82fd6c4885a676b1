"""A server: whether it is fit, what it needs before any role, and the release of binaries that it runs."""

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
