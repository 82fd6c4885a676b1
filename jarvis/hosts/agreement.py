"""Checks that need all servers together, run as ``python3 jarvis/hosts/agreement.py``.

It reads ``{"servers": {name: output of its preflight}, "max_skew": seconds}`` from stdin, and fails with one
list of all mistakes. It is run as a file, since its package takes half a second to import.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping

_ADVICE = {
    "machine-id": "copies of one disk: rm /etc/machine-id, systemd-machine-id-setup, reboot",
    "hostname": "hostnamectl set-hostname",
}


def facts(output: str) -> dict[str, str]:
    """The lines ``name value`` of a preflight's output, as a mapping."""
    return dict(line.split(" ", 1) for line in output.splitlines() if " " in line)


def disagreements(servers: Mapping[str, str], max_skew: int, now: float) -> list[str]:
    """Mistakes that show only between servers, or between them and the operator's machine.

    Args:
        servers: preflight outputs by name.
        max_skew: seconds that a server's clock may be ahead.
        now: time on the operator's machine, seconds since 1970; later than when any of the outputs was made.
    """
    found = []
    known = {name: facts(output) for name, output in servers.items()}
    for field, advice in _ADVICE.items():
        holders = defaultdict(list)
        for name, values in known.items():
            holders[values.get(field, "")].append(name)
        for value, names in holders.items():
            if len(names) > 1:
                found.append(f"{field}: {' and '.join(names)} have the same, {value or 'none'} ({advice})")
    for name, values in known.items():
        ahead = int(values.get("time", "0")) - int(now)
        if ahead > max_skew:
            found.append(
                f"time: the clock of {name} is {ahead} s ahead of that of the operator's machine "
                "(preflight.max_clock_skew_seconds)"
            )
    return found


def main() -> int:
    """The program: exit status 1, with the list on stderr, where the servers do not go together."""
    request = json.load(sys.stdin)
    found = disagreements(request["servers"], request["max_skew"], time.time())
    if found:
        print("error: the servers do not go together; nothing has been changed on any:", file=sys.stderr)
        for line in found:
            print(f"  - {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
