"""Drift: what on servers and in Kubernetes is another than what was deployed.

A resource of a command has no Read, so the program asks the servers itself, and writes what it finds into the
text of the role concerned: a preview shows it as a change of that role, and ``up`` applies the role again.
Pulumi's provider of Kubernetes sees nothing of what others write either: the program asks the API who owns
which field, and writes what it finds into an annotation of the object concerned.
"""

from jarvis.drift.ask import SilentError, Watch, look, read_watch
from jarvis.drift.objects import Objects, ObjectsBefore, read_objects
from jarvis.drift.run import Drift
from jarvis.drift.seen import Kept, Seen, read_kept, to_record

__all__ = [
    "Drift",
    "Kept",
    "Objects",
    "ObjectsBefore",
    "Seen",
    "SilentError",
    "Watch",
    "look",
    "read_kept",
    "read_objects",
    "read_watch",
    "to_record",
]
