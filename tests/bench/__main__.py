"""``python -m tests.bench``: measures, prints, and writes ``.jarvis/bench.json``.

``python -m tests.bench table`` prints the last figures as the document ``docs/figures.md``.
"""

from __future__ import annotations

import json
import signal
import sys

from tests.bench.measure import STATE, BenchError, measure
from tests.bench.peers.measure import PeerError
from tests.bench.report import markdown, text
from toolchain.workspace.stack import StackError

FILE = STATE / "bench.json"
# Written by `make test-vm`.
VIRTUAL = STATE / "vm.json"


def main(words: list[str]) -> int:
    """The program; returns its exit status."""
    try:
        if words == ["table"]:
            if not FILE.exists():
                raise BenchError(f"there are no figures in {FILE}; measure them with: make bench")
            virtual = json.loads(VIRTUAL.read_text(encoding="utf-8")) if VIRTUAL.exists() else None
            sys.stdout.write(markdown(json.loads(FILE.read_text(encoding="utf-8")), virtual))
            return 0
        if words:
            raise BenchError("usage: python -m tests.bench [table]")
        # Started in the background of a script this ignores SIGINT, and so would all that it starts. Pulumi
        # ends its plugins by SIGINT, and would wait five seconds for them in each run.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("==> figures: a deployment in a lab of its own", flush=True)
        figures = measure()
        part = FILE.with_suffix(".part")
        part.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        part.replace(FILE)
    except (BenchError, PeerError, StackError, AssertionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the lab is cleared by the next run", file=sys.stderr)
        return 130
    print(text(figures))
    print(f"written to {FILE.relative_to(STATE.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
