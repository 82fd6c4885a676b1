"""Roles of servers as data: what each has on a server, who reaches it, and which secrets it holds.

No Pulumi resource is made here, and nothing is imported of other parts of Jarvis.
"""

from jarvis.roles.base import BASE
from jarvis.roles.catalogue import ROLES, ServerRole, declared
from jarvis.roles.model import HostRole

__all__ = ["BASE", "ROLES", "HostRole", "ServerRole", "declared"]
