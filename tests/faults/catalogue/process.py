"""SIGKILL of each process that Jarvis runs on the servers; systemd starts it again."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.fault import Fault
from tests.lab.deployment import Cloud

ADDRESS = "jarvis-virtual-address.service"
# The processes of pods are in the same control group, and are not its own.
_ALONE = ("containerd.service", "kubelet.service")
# Of what runs on: a unit whose work is done once it has started has no process, and a socket or a timer has
# that of the service that it starts.
_RUNNING = """
cat /var/lib/jarvis/roles/*/units | sort -u | while read -r unit; do
  starts=$(systemctl show --value --property Triggers "$unit")
  unit=${starts:-$unit}
  [ "$(systemctl show --value --property MainPID "$unit")" = 0 ] || echo "$unit"
done
"""
# Returns once systemd knows that the process is gone.
_KILL = """
old=$(systemctl show --value --property MainPID {unit})
systemctl kill --signal=KILL --kill-whom={whom} {unit}
for _ in $(seq 100); do
  [ "$(systemctl show --value --property MainPID {unit})" = "$old" ] || exit 0
  sleep 0.05
done
exit 1
"""


def kill(unit: str, server: str) -> Fault:
    """The processes of ``unit`` on ``server``, killed."""
    whom = "main" if unit in _ALONE else "all"

    def strike(cloud: Cloud) -> None:
        # The address is where it is when its turn has come.
        where = (cloud.holder() or server) if unit == ADDRESS else server
        cloud.ssh(where, _KILL.format(unit=unit, whom=whom))

    name = unit.removesuffix(".service")
    return Fault(name=f"kill-{name}", title=f"SIGKILL of {name} on one server", strike=strike)


def faults(cloud: Cloud) -> Iterator[Fault]:
    """Each unit once, on the first server that runs it."""
    where: dict[str, str] = {}
    for server, text in cloud.each(_RUNNING):
        for unit in text.split():
            where.setdefault(unit, server)
    for unit in sorted(where):
        yield kill(unit, where[unit])
