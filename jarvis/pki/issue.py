"""The generator of secrets as deployed stacks call it: ``python3 -m jarvis.pki.issue``.

Part of a contract: that command line stands in the state of every stack (``jarvis.remote.local.COMMAND``),
and the engine runs it from there. This file is therefore never moved or renamed; what it leads to may be.
"""

from __future__ import annotations

import sys

from jarvis.pki.generator import main

if __name__ == "__main__":
    sys.exit(main())
