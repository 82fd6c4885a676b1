"""Drift of the servers: what on them is another than what was deployed.

A resource of a command has no Read, so the program asks the servers itself, and writes what it finds into the
text of the role concerned: a preview shows it as a change of that role, and ``up`` applies the role again.
"""

from jarvis.drift.ask import SilentError, Watch, look, read_watch
from jarvis.drift.run import Drift
from jarvis.drift.seen import Kept, Seen, read_kept, to_record

__all__ = ["Drift", "Kept", "Seen", "SilentError", "Watch", "look", "read_kept", "read_watch", "to_record"]
