"""``python -m tests.audits``: others' tools look at a deployment in the tests' lab; fails on what is new.

``python -m tests.audits NAME...`` runs those tools only; ``table`` and ``controls`` print the tables of
docs/audits.md.
JARVIS_KEEP_LAB=1 keeps the deployment, and uses one that is there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from tests.audits import cis, tls, tools
from tests.audits.finding import Finding, explanations, markdown, unexplained
from tests.bench.measure import STATE, say
from tests.faults.__main__ import deployment
from tests.lab.deployment import Cloud

FILE = STATE / "audits.json"
TOOLS: dict[str, Callable[[Cloud], Iterator[Finding]]] = {
    "cis": cis.findings,
    "openssl": tls.findings,
    "ssh-audit": tools.ssh_audit,
    "etcdctl": tools.check_perf,
    "lynis": tools.lynis,
    "testssl.sh": lambda cloud: tools.testssl(cloud, STATE),
}


def install() -> None:
    """The tools' Debian packages that are missing."""
    listed = Path(__file__).with_name("apt.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line for line in listed if line and not line.startswith("#")]
    have = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package}\\n", *wanted], capture_output=True, text=True
    )
    missing = sorted(set(wanted) - set(have.stdout.split()))
    if missing:
        subprocess.run(
            ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing],
            stdout=subprocess.DEVNULL,
            check=True,
        )


def run(names: list[str]) -> int:
    """1 when anything was found that is not explained."""
    install()
    found: list[Finding] = []
    with deployment() as cloud:
        for name in names:
            said = sorted(set(TOOLS[name](cloud)))
            say(f"{name}: {len(said)} findings")
            for one in said:
                say(f"  {one}")
            found += said
    new = unexplained(found, explanations())
    FILE.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8")
    say(f"{len(found)} findings, of which {len(new)} are explained nowhere; all of them: {FILE}")
    for one in new:
        say(f"not explained (tests/audits/explained.toml): {one}")
    return 1 if new else 0


def main(words: list[str]) -> int:
    if words == ["table"]:
        print(markdown(explanations()), end="")
        return 0
    if words == ["controls"]:
        print(cis.markdown(cis.controls()), end="")
        return 0
    unknown = [word for word in words if word not in TOOLS]
    if unknown:
        print(f"error: there is no audit {unknown[0]}; there are: {', '.join(TOOLS)}", file=sys.stderr)
        return 2
    return run(words or list(TOOLS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
