"""Checks of SSH credentials on the operator's machine, before any server is dialled.

A server answers a bad key with "Permission denied" whatever the reason, and each dial takes seconds. These
checks name the reason at once.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Seconds. Both tools answer within milliseconds, except for an agent that waits for a person (a token, a
# prompt).
_SECONDS = 5
# Beginnings of public keys (sshd(8), AUTHORIZED_KEYS FILE FORMAT; RFC 7468, 13; RFC 4716, 3.1).
_PUBLIC = ("ssh-", "ecdsa-", "sk-", "-----BEGIN PUBLIC", "-----BEGIN RSA PUBLIC", "---- BEGIN SSH2")
PUBLIC = "it is a public key"
PUTTY = "it is a key of PuTTY"
ENCRYPTED = "it is encrypted"


def option_path(path: str | Path) -> str:
    """``path`` as the value of an OpenSSH option, which splits at blanks and expands ``%``."""
    return '"' + str(path).replace("%", "%%") + '"'


def key_problem(text: str) -> str:
    """Why OpenSSH cannot use a private key without asking for anything; empty where it can.

    Without ``ssh-keygen`` nothing is known, and nothing is reported.

    Args:
        text: the private key, in OpenSSH's or PEM form.
    """
    if text.startswith(_PUBLIC):
        return PUBLIC
    if text.startswith("PuTTY-User-Key-File"):
        return PUTTY
    # In the form that the connection accepts: a pasted key often lacks the end of its last line.
    content = (text.replace("\r\n", "\n").rstrip("\n") + "\n").encode()
    # A file in memory, seekable: ssh-keygen opens it more than once, and refuses one that others can read.
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, content)
        said = _run("ssh-keygen", "-y", "-P", "", "-f", f"/proc/self/fd/{descriptor}", keep=(descriptor,))
    finally:
        os.close(descriptor)
    if said is None or said.returncode == 0:
        return ""
    if "passphrase" in said.stderr:
        return ENCRYPTED
    return "it is not a private key that ssh can read"


def agent_problem(socket: str | None) -> str:
    """Why no key can be had from an SSH agent; empty where the agent holds one.

    Without ``ssh-add`` nothing is known, and nothing is reported.

    Args:
        socket: path of the agent's socket; ``None`` where the shell names none.
    """
    if not socket:
        return "no SSH agent is named by SSH_AUTH_SOCK"
    said = _run("ssh-add", "-l", socket=socket)
    if said is None or said.returncode == 0:
        return ""
    if said.returncode == 1:
        return f"the SSH agent at {socket} has no key"
    return f"no SSH agent answers at {socket}"


def _run(
    *words: str, keep: tuple[int, ...] = (), socket: str = ""
) -> subprocess.CompletedProcess[str] | None:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=keep,
            env={**environment, **({"SSH_AUTH_SOCK": socket} if socket else {})},
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 2, "", "")
