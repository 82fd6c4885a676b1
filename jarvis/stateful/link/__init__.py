"""Links: one name and one port for a service of the servers, in pods, on servers and from outside."""

from jarvis.stateful.link.link import Link, LinkArgs
from jarvis.stateful.link.proxy import LinkProxies, LinkProxiesArgs
from jarvis.stateful.link.service import Check, LinkedService, LinkMember, cluster_name, http, names, tcp, tls

__all__ = [
    "Check",
    "Link",
    "LinkArgs",
    "LinkMember",
    "LinkProxies",
    "LinkProxiesArgs",
    "LinkedService",
    "cluster_name",
    "http",
    "names",
    "tcp",
    "tls",
]
