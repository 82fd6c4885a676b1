"""Where a checkout keeps what belongs to one stack, and the environment in which its tools run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from jarvis.core.private import write_private

PROJECT = Path(__file__).resolve().parents[2]
# The lab's stack is encrypted like any other, but its passphrase is no secret: it stands here, so that the
# salt in Pulumi.dev.yaml, which goes with it, need not be written at the first deployment.
LAB_PASSPHRASE = "jarvis-lab"
# Never by a proxy: the engine, its plugins and the program speak to each other there.
LOOPBACK = ("localhost", "127.0.0.1", "127.0.0.0/8", "::1")
_NO_PROXY = ("NO_PROXY", "no_proxy")


def direct(files: Iterable[Path]) -> list[str]:
    """What no HTTP proxy leads to: loopback, and the servers, virtual address and domain of the environment
    in each of the stacks' configuration ``files``.

    Addresses stand beside their network, since not every program reads networks (Python's urllib does not). A
    file that is not there, or is not as it should be, adds nothing: the preview tells its mistakes.
    """
    found = list(LOOPBACK)
    for file in files:
        try:
            env = yaml.safe_load(file.read_text(encoding="utf-8"))["config"]["jarvis:environment"]
            networks = env["networks"]
            # Its default, as jarvis.config.network has it.
            domain = networks.get("domain", "jarvis.internal")
            wanted = [networks["management"], networks["virtual_address"], f".{domain}"]
            wanted += [server["address"] for server in env["servers"]]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            continue
        found += [str(one) for one in wanted if not re.search(r"[\s,]", str(one))]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """One stack of a checkout.

    - ``stack``: its name. ``config``: its configuration file, or ``None`` for ``Pulumi.<stack>.yaml``.
    - ``state``: the folder of ``.jarvis`` (tools, artifacts, Pulumi's home). ``folder``: what is the stack's
      own: backend, kubeconfig, clouds.yaml.
    """

    stack: str = "dev"
    config: Path | None = None
    state: Path = PROJECT / ".jarvis"
    root: Path = PROJECT

    @property
    def folder(self) -> Path:
        return self.state / self.stack

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def clouds(self) -> Path:
        return self.folder / "clouds.yaml"

    def variables(self) -> dict[str, str]:
        """What an operator's shell has beyond its own environment; ``PATH`` is a prefix of it."""
        found = {
            "PATH": f"{self.root / '.venv' / 'bin'}:{self.state / 'bin'}",
            "PULUMI_HOME": str(self.state / "pulumi"),
            # Without ``metadata=skip`` the backend keeps a sidecar for each file and writes it in place: a
            # run killed then leaves an empty one, and no later run can read the state ("EOF").
            "PULUMI_BACKEND_URL": f"file://{self.folder / 'state'}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.folder / "passphrase"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            # Go's collector of garbage, four times as seldom as by default: with 40 MiB more the CLI, which
            # lives for seconds, is done 8 % sooner (median of 16 previews).
            "GOGC": "400",
            # Our plugins stand on PATH only where the official ones cannot be had; the engine warns of that.
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "false",
            # Where the program writes the next two (stacks/access.py).
            "JARVIS_STACKS": str(self.state),
            "KUBECONFIG": str(self.kubeconfig),
            "OS_CLIENT_CONFIG_FILE": str(self.clouds),
        }
        if self.config is not None:
            found["PULUMI_OPTION_CONFIG_FILE"] = str(self.config)
        return found

    def direct(self) -> list[str]:
        """What no proxy leads to, in this checkout: of all its stacks, since one shell may serve them all."""
        own = [self.config] if self.config is not None else []
        return direct([*own, *sorted(self.root.glob("Pulumi.*.yaml"))])

    def environment(self) -> dict[str, str]:
        """The environment of a command of this workspace."""
        own = self.variables()
        # What the operator's shell says of another stack must not reach this one.
        foreign = ("PULUMI_", "OS_", "PYTHONDONTWRITEBYTECODE")
        rest = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        before = [one for name in _NO_PROXY for one in rest.get(name, "").split(",") if one.strip()]
        direct = ",".join(dict.fromkeys([*before, *self.direct()]))
        return {
            **rest,
            **dict.fromkeys(_NO_PROXY, direct),
            **own,
            "PATH": f"{own['PATH']}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        }

    def prepare(self) -> None:
        """Makes the folders, the passphrase file, and the file that an operator sources."""
        for folder in (self.folder, self.folder / "state", self.state / "pulumi"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        # Where the CLI would write each value of each resource into a log of some MiB at every run, with a
        # third of its time. It goes without if this is no folder; -v=9 --logtostderr is there all the same.
        logs = self.state / "pulumi" / "logs"
        if not logs.exists():
            logs.touch(mode=0o400)
        passphrase = self.folder / "passphrase"
        if not passphrase.exists():
            write_private(passphrase, LAB_PASSPHRASE + "\n")
        write_private(self.env_file, self.env_text())

    @property
    def env_file(self) -> Path:
        return self.state / "env" if self.stack == "dev" else self.folder / "env"

    def env_text(self) -> str:
        """The file that an operator sources, in the shell's language."""
        own = self.variables()
        path = own.pop("PATH")
        direct = shlex.quote(",".join(self.direct()))
        known = shlex.quote(path)
        place = shlex.quote(str(self.env_file))
        return "\n".join(
            [
                f"# The environment of the stack {self.stack}. Use it with: . {place}",
                f'case ":$PATH:" in *:{known}:*) ;; *) export PATH={known}:"$PATH" ;; esac',
                *(f"export {name}={shlex.quote(value)}" for name, value in own.items()),
                # The operator's proxy is for the internet. Some programs read one name, some the other.
                'export NO_PROXY="${NO_PROXY:-${no_proxy:-}}"',
                f'case ",$NO_PROXY," in *,{direct},*) ;; '
                f'*) NO_PROXY="${{NO_PROXY:+$NO_PROXY,}}"{direct} ;; esac',
                'export no_proxy="$NO_PROXY"',
                "unset PULUMI_CONFIG_PASSPHRASE",
                # Without compiled modules each start of Python takes a second more.
                "unset PYTHONDONTWRITEBYTECODE",
                "",
            ]
        )
