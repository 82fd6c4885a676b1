"""A command line of root's for a user who is not root, as pure functions."""

from __future__ import annotations

# What root's shell does: it reads the command up to a last line, which tells that all of it has arrived: half
# a list of files would remove the others. What follows is the standard input of the command.
_LAST = "# the end of a command of Jarvis"
_READ = (
    'text=$(head -c "$1"); case $text in *"$2") ;;'
    ' *) echo "error: only a part of the command has arrived" >&2; exit 1;; esac;'
    ' set --; eval "$text"'
)
_BOUND = "JARVIS-COMMAND-END"


def as_root(text: str) -> str:
    """A command line for a POSIX shell that runs the command line ``text`` in root's Bash, by ``sudo -n``.

    What the command reads, secrets included, is its standard input as before. ``text`` goes ahead of it
    there, and is no argument of sudo, which would write the whole of it into the journal. sudo asks nobody
    for a password, closes all other descriptors, and drops the environment; the command is told where the
    connection comes from (``SSH_CONNECTION``), by which the firewall refuses to lock the operator out.

    Raises ``ValueError`` for a text that has the line ``JARVIS-COMMAND-END``.
    """
    if _BOUND in text.splitlines():
        raise ValueError(f"a command cannot have the line {_BOUND}")
    sent = f"{text.rstrip()}\n{_LAST}\n"
    shell = (
        f"""env SSH_CONNECTION="$SSH_CONNECTION" bash -c '{_READ}' jarvis {len(sent.encode())} '{_LAST}'"""
    )
    return f"{{ cat <<'{_BOUND}'\n{sent}{_BOUND}\ncat; }} | sudo -n {shell}"
