"""SSH access to each server: user, key and settings, and whether they can work."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from jarvis.config.environment import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.load import PROJECT
from jarvis.config.server import Server
from jarvis.core.credentials import PUBLIC, PUTTY, agent_problem, key_problem

# Seconds to wait for a server that does not answer, on a usual server: short enough for an operator who
# watches.
WAIT_SECONDS = 60


def key_file(env: Environment, server: Server) -> str | None:
    """Path of the private key for ``server``; ``None`` uses the SSH agent."""
    return server.private_key_file or env.ssh.private_key_file


def bastion_key_file(env: Environment) -> str | None:
    """Path of the private key for the bastion; ``None`` uses the agent, or there is no bastion."""
    bastion = env.ssh.bastion
    return None if bastion is None else bastion.private_key_file or env.ssh.private_key_file


def private_key(path: str | None, folder: Path = PROJECT) -> str | None:
    """The text of a key file.

    Args:
        path: its path, relative to ``folder``; ``None`` for no key.
        folder: the project.
    """
    return (folder / path).read_text(encoding="utf-8") if path else None


def user(env: Environment, server: Server) -> str:
    """Login name on ``server``."""
    return server.user or env.ssh.user


def sudo(env: Environment, server: Server) -> bool:
    """Whether the user of ``server`` becomes root by sudo."""
    return env.ssh.sudo if server.sudo is None else server.sudo


def wait_seconds(env: Environment) -> int:
    """Seconds to wait at most for a server that does not answer."""
    return env.ssh.wait_seconds or WAIT_SECONDS * env.patience


def credential_mistakes(
    env: Environment, folder: Path = PROJECT, environment: Mapping[str, str] = os.environ
) -> tuple[list[str], list[str]]:
    """Mistakes in the key files of ``env``, and in the SSH agent where one is used.

    With such a mistake no server lets anybody in, and each would be dialled until its wait is over. Lost
    servers are not dialled and not looked at.

    Args:
        env: the environment.
        folder: the project, which key paths are relative to.
        environment: variables of the operator's shell.

    Returns:
        Mistakes in key files, and mistakes in the agent: the path of a field, and the command that mends it.
    """
    files: dict[str, str] = {}
    agent: list[str] = []
    for at, server in enumerate(env.servers):
        if server.lost:
            continue
        own = f"servers[{at}].private_key_file" if server.private_key_file else "ssh.private_key_file"
        path = key_file(env, server)
        if path:
            files.setdefault(path, own)
        else:
            agent.append(server.name)
    if env.ssh.bastion:
        path = bastion_key_file(env)
        if path:
            files.setdefault(path, "ssh.bastion.private_key_file")
        else:
            agent.append("the bastion")
    wrong = [
        f"  {field}: {path} cannot be used: {problem}; {_way_out(path, problem)}"
        for path, field in files.items()
        if (problem := key_problem((folder / path).read_text(encoding="utf-8", errors="replace")))
    ]
    if not agent:
        return wrong, []
    problem = agent_problem(environment.get("SSH_AUTH_SOCK"))
    names = agent[0] if len(agent) == 1 else f"{agent[0]} and {len(agent) - 1} more"
    return wrong, [
        f"  ssh.private_key_file: not set, and so {names} would be reached by the SSH agent, but {problem};"
        ' type: eval "$(ssh-agent)"; ssh-add'
    ] if problem else []


def _way_out(path: str, problem: str) -> str:
    if problem == PUBLIC:
        private = path.removesuffix(".pub")
        return f"the private one is {private if private != path else 'the file without .pub beside it'}"
    if problem == PUTTY:
        return f"write it as OpenSSH's: puttygen {path} -O private-openssh -o FILE"
    return (
        f"give a key without a passphrase (try: ssh-keygen -y -f {path}), or leave the field out and type:"
        f" ssh-add {path}"
    )


def check_credentials(env: Environment, *, preview: bool, folder: Path = PROJECT) -> list[str]:
    """Checks that servers can be reached with the configured keys.

    Args:
        env: the environment.
        preview: the run is a preview. It may do without an agent, since it need not reach any server
            (``jarvis:observe``).
        folder: the project, which key paths are relative to.

    Returns:
        Warnings: what is missing of the agent, in a preview.

    Raises:
        ConfigurationError: key files cannot be used; or, in an ``up``, the agent has no key.
    """
    files, agent = credential_mistakes(env, folder)
    if files or (agent and not preview):
        text = "\n".join([*files, *agent])
        raise ConfigurationError(f"no server can be reached by these; nothing has been changed:\n{text}")
    return [line.strip() for line in agent]
