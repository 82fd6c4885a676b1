"""Drift: what on servers, in Kubernetes and in OpenStack differs from what was deployed.

A command's resource has no Read. Nor has a Job one of what it made, and Pulumi's Kubernetes provider does not
see what other managers write. So the program itself asks: the servers for their state, Kubernetes' API who
owns which field, and Keystone for what is registered in it. It writes findings into the text of the role, or
into an annotation of the object or of the Job's pods. A preview shows them as a change of that resource, and
``up`` applies the role, updates the object or runs the Job again.
"""

from jarvis.drift.ask import SilentError, Watch, look, read_watch
from jarvis.drift.declared import NAME as OPENSTACK
from jarvis.drift.declared import Objects as DeclaredObjects
from jarvis.drift.declared import read_declared
from jarvis.drift.keystone import NAME as KEYSTONE
from jarvis.drift.keystone import keystone_source
from jarvis.drift.objects import Objects, ObjectsBefore, read_objects
from jarvis.drift.registered import Registered, read_registered
from jarvis.drift.run import Drift
from jarvis.drift.seen import Kept, Seen, read_kept, to_record
from jarvis.drift.source import Source

__all__ = [
    "KEYSTONE",
    "OPENSTACK",
    "DeclaredObjects",
    "Drift",
    "Kept",
    "Objects",
    "ObjectsBefore",
    "Registered",
    "Seen",
    "SilentError",
    "Source",
    "Watch",
    "keystone_source",
    "look",
    "read_declared",
    "read_kept",
    "read_objects",
    "read_registered",
    "read_watch",
    "to_record",
]
