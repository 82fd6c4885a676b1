"""With which user, key and settings each server is reached, and whether those can work at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from jarvis.config.environment import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.load import PROJECT
from jarvis.config.server import Server
from jarvis.core.credentials import PUBLIC, PUTTY, agent_problem, key_problem

# Seconds for a server that does not answer, on a usual server: what an operator waits for without a doubt.
WAIT_SECONDS = 60


def key_file(env: Environment, server: Server) -> str | None:
    """The path of the private key for ``server``; ``None`` where the SSH agent is to be used."""
    return server.private_key_file or env.ssh.private_key_file


def bastion_key_file(env: Environment) -> str | None:
    """The same for the bastion; ``None`` also where there is no bastion."""
    bastion = env.ssh.bastion
    return None if bastion is None else bastion.private_key_file or env.ssh.private_key_file


def private_key(path: str | None, folder: Path = PROJECT) -> str | None:
    """The text of the key file ``path`` below ``folder``, or ``None`` where there is none."""
    return (folder / path).read_text(encoding="utf-8") if path else None


def user(env: Environment, server: Server) -> str:
    """The login name on ``server``."""
    return server.user or env.ssh.user


def sudo(env: Environment, server: Server) -> bool:
    """Whether that user becomes root by sudo."""
    return env.ssh.sudo if server.sudo is None else server.sudo


def wait_seconds(env: Environment) -> int:
    """How long a server that does not answer is waited for at most."""
    return env.ssh.wait_seconds or WAIT_SECONDS * env.patience


def credential_mistakes(
    env: Environment, folder: Path = PROJECT, environment: Mapping[str, str] = os.environ
) -> tuple[list[str], list[str]]:
    """What is wrong with the key files of ``env``, and with the SSH agent where it is needed: with either no
    server lets anybody in, and would be dialled until the wait for it is over.

    Each is the path of a field, and what to type. A lost server is asked nothing.
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
    """Whether servers can be asked at all. A ``preview`` may run where there is no agent, since it need not
    ask any (``jarvis:observe``): that is returned as warnings.

    Raises ``ConfigurationError`` with every key file that cannot be used, and, but for a preview, with what
    is missing of the agent.
    """
    files, agent = credential_mistakes(env, folder)
    if files or (agent and not preview):
        text = "\n".join([*files, *agent])
        raise ConfigurationError(f"no server can be reached by these; nothing has been changed:\n{text}")
    return [line.strip() for line in agent]
