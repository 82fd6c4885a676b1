"""Drift: what on the servers, and in Keystone, is another than what was deployed.

A resource of a command has no Read, nor has a Job one of what it made. So the program asks the servers and
Keystone itself, and writes what it finds into the text of the role or the Job concerned: a preview shows it
as a change of that resource, and ``up`` applies the role, or runs the Job, again.
"""

from jarvis.drift.ask import SilentError, Watch, read_watch
from jarvis.drift.keystone import NAME as KEYSTONE
from jarvis.drift.keystone import keystone_source
from jarvis.drift.registered import Registered, read_registered
from jarvis.drift.run import Drift, Source
from jarvis.drift.seen import Kept, Seen, read_kept, to_record

__all__ = [
    "KEYSTONE",
    "Drift",
    "Kept",
    "Registered",
    "Seen",
    "SilentError",
    "Source",
    "Watch",
    "keystone_source",
    "read_kept",
    "read_registered",
    "read_watch",
    "to_record",
]
