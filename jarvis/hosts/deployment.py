"""The deployment that a server belongs to, as pure functions.

A deployment is one state, with its authorities, keys and passwords. Its id is made once, kept in that state,
and written to every server. The environment's name alone would not do: any number of states may have the
same.
"""

from __future__ import annotations

import hashlib
import uuid

# The file on a server with the id of its deployment, one line.
MARK = "/var/lib/jarvis/deployment"


def deployment_id(random: str) -> str:
    """The id of a deployment: a UUID derived from ``random``.

    It is public, and tells nothing of ``random``.
    """
    return str(uuid.UUID(bytes=hashlib.sha256(f"deployment {random}".encode()).digest()[:16], version=4))


def refusal(server: str, known: str, accepted: list[str]) -> str:
    """A command line that fails on a server of another deployment.

    Args:
        server: its name, for the error.
        known: id of the deployment whose state runs this.
        accepted: further ids, such as the one that the configuration takes over.
    """
    cases = "|".join(f"'{one}'" for one in ["", known, *accepted])
    return (
        f"id=$(cat {MARK} 2>/dev/null || true); case $id in {cases}) ;;"
        f' *) echo "error: {server} belongs to the deployment $id, and this state is of {known}" >&2;'
        " exit 1;;"
        " esac"
    )


def unless_foreign(known: str, command: str) -> str:
    """A command line that runs ``command`` unless the server belongs to another deployment.

    Args:
        known: id of the deployment whose state runs this.
        command: a command line.
    """
    return (
        f"id=$(cat {MARK} 2>/dev/null || true); case $id in ''|'{known}') {command};;"
        ' *) echo "left as it is: the server belongs to the deployment $id by now" >&2;; esac'
    )
