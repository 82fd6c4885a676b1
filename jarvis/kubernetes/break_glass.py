"""Emergency access to a cluster that lets no operator in, made from the state alone, without Pulumi.

``pulumi stack export --show-secrets | python -m jarvis.kubernetes.break_glass FILE [URL]`` writes a
kubeconfig to FILE, mode 0600. Its user ``jarvis:break-glass``, a name that shows in the audit log, may do
anything for one day, whatever RBAC says. URL is that of one API server, such as https://192.0.2.11:6443, for
when the virtual address does not answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jarvis.core.private import write_private
from jarvis.kubernetes.identity import ADMINISTRATORS
from jarvis.kubernetes.kubeconfig import whole_kubeconfig
from jarvis.pki.generator import generate

USER = "break-glass"
AUTHORITY = "kubernetes-ca"
DAYS = 1
USAGE = "usage: pulumi stack export --show-secrets | python -m jarvis.kubernetes.break_glass FILE [URL]"


def plain(value: Any) -> Any:
    """The value of an output in an exported state, secret or not.

    Raises:
        ValueError: the value is still encrypted.
    """
    if not isinstance(value, dict):
        return value
    if "plaintext" not in value:
        raise ValueError("the secrets of the state are encrypted: pulumi stack export --show-secrets")
    return json.loads(value["plaintext"])


def authorities(resources: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The generations of the cluster's authority (``certificate``, ``key``), the oldest first."""
    found = {}
    for one in resources:
        name = re.search(rf"::{AUTHORITY}-(\d+)$", one["urn"])
        if name and one["type"] == "command:local:Command":
            found[int(name[1])] = json.loads(plain(one["outputs"]["stdout"]))
    return [made for _, made in sorted(found.items())]


def kubeconfig(state: Mapping[str, Any], url: str = "") -> str:
    """The kubeconfig for emergency access.

    Args:
        state: the exported state.
        url: URL of an API server; the stack's own where it is empty.

    Raises:
        ValueError: the state is of no cluster, or still encrypted.
    """
    resources = state.get("deployment", {}).get("resources", [])
    made = authorities(resources)
    stack: Mapping[str, Any] = next(
        (one.get("outputs", {}) for one in resources if one["type"] == "pulumi:pulumi:Stack"), {}
    )
    address = url or plain(stack.get("api", ""))
    if len(made) < 2 or not address:
        raise ValueError("this is not the state of a cloud that was deployed")
    # API servers trust three generations. The last is not in use yet. All of them trust the one before it,
    # whichever of two rotations an interrupted run has left them in.
    signer = made[-2]
    pair = json.loads(
        generate(
            {
                "kind": "certificate",
                "authority": {"common_name": AUTHORITY, "key": signer["key"]},
                "common_name": f"jarvis:{USER}",
                "organizations": [ADMINISTRATORS],
                "dns_names": [],
                "addresses": [],
                "client": True,
                "server": False,
                "days": DAYS,
            }
        )
    )
    trusted = "".join(one["certificate"] for one in made)
    return whole_kubeconfig(
        USER, "jarvis", address, trusted, pair["certificate"] + signer["certificate"], pair["key"]
    )


def main(words: list[str]) -> int:
    """The program; returns its exit status: 2 for wrong arguments, 1 for a state that will not do."""
    if len(words) not in (1, 2):
        print(USAGE, file=sys.stderr)
        return 2
    file, url = Path(words[0]), "".join(words[1:])
    try:
        write_private(file, kubeconfig(json.load(sys.stdin), url))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{file} lets its holder do anything in the cluster until tomorrow: remove it when you are done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
