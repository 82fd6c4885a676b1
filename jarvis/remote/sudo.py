"""Command lines that run as root for a user who is not root, as pure functions."""

from __future__ import annotations

# The program of root's shell: it reads the command up to a last line, which proves that all of it has
# arrived, since half a list of files would remove the others. What follows is the command's own standard
# input.
_LAST = "# the end of a command of Jarvis"
_READ = (
    'text=$(head -c "$1"); case $text in *"$2") ;;'
    ' *) echo "error: only a part of the command has arrived" >&2; exit 1;; esac;'
    ' set --; eval "$text"'
)
_BOUND = "JARVIS-COMMAND-END"


def as_root(text: str) -> str:
    """A POSIX command line that runs the command line ``text`` in root's Bash, by ``sudo -n``.

    ``text`` travels by stdin, ahead of the command's own input: as an argument of sudo all of it, secrets
    included, would be written to the journal. sudo asks for no password, closes other descriptors and drops
    the environment, except for ``SSH_CONNECTION``: by that the firewall refuses to lock the operator out.

    Raises:
        ValueError: ``text`` has the line ``JARVIS-COMMAND-END``.
    """
    if _BOUND in text.splitlines():
        raise ValueError(f"a command cannot have the line {_BOUND}")
    sent = f"{text.rstrip()}\n{_LAST}\n"
    shell = (
        f"""env SSH_CONNECTION="$SSH_CONNECTION" bash -c '{_READ}' jarvis {len(sent.encode())} '{_LAST}'"""
    )
    return f"{{ cat <<'{_BOUND}'\n{sent}{_BOUND}\ncat; }} | sudo -n {shell}"
