"""Takes fields of an object from those who added them.

Run as ``python3 jarvis/kubernetes/take_back.py`` with a request on stdin.

The request is a JSON object: ``address`` (URL of the API), ``path`` (of the object), ``fields`` (to take, as
``fieldsV1``), and ``authority``, ``certificate``, ``key`` in PEM. No value changes here. The fields get the
owner ``MANAGER``. Its fields Pulumi's provider takes over with the next update of the object, as it does with
all of kubectl's; what that update does not have is then removed, in one step with all that it changes. It
imports the standard library alone.
"""

from __future__ import annotations

import json
import sys
import urllib.error
from collections.abc import Mapping, Sequence
from typing import Any

if __package__:
    from jarvis.kubernetes.forget import Api, context
    from jarvis.kubernetes.managed_fields import OURS, Path, members, tree
else:
    from forget import Api, context  # type: ignore[import-not-found, no-redef]
    from managed_fields import (  # type: ignore[import-not-found, no-redef]
        OURS,
        Path,
        members,
        tree,
    )

# The provider takes over what names with this beginning have written by `Update`.
MANAGER = "kubectl-jarvis"
# How often an object that others change at the same moment is looked at again.
_TRIES = 5
_JSON_PATCH = "application/json-patch+json"

Fields = dict[str, Any]
Entry = dict[str, Any]


def taken(entries: Sequence[Entry], fields: Fields) -> list[Entry] | None:
    """``entries`` of ``managedFields`` where ``fields`` are ``MANAGER``'s; ``None`` where no other has any.

    What a controller says of the object's state, and what Pulumi's provider owns, stays.
    """
    wanted = members(fields)
    kept: list[Entry] = []
    mine: set[Path] = set()
    last: Entry = {}
    changed = False
    for entry in entries:
        manager, own = str(entry.get("manager")), members(entry.get("fieldsV1") or {})
        share = own if manager == MANAGER else own & wanted
        if entry.get("subresource") == "status" or manager.startswith(OURS) or not share:
            kept.append(entry)
            continue
        mine, last = mine | share, entry
        changed = changed or manager != MANAGER
        if own - share:
            kept.append({**entry, "fieldsV1": tree(own - share)})
    if not changed:
        return None
    made = {key: last[key] for key in ("apiVersion", "fieldsType", "time") if key in last}
    return [*kept, {**made, "manager": MANAGER, "operation": "Update", "fieldsV1": tree(mine)}]


def take(api: Api, path: str, fields: Fields) -> bool:
    """Takes ``fields`` of the object at ``path``; whether there was anything to take.

    Raises ``urllib.error.URLError`` where the API refuses, also where others change the object all the time.
    """
    for left in reversed(range(_TRIES)):
        found = api.ask("GET", path)
        metadata = found["metadata"] if found else {}
        entries = taken(metadata.get("managedFields") or [], fields)
        if entries is None:
            return False
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            # The list is whole: an owner that came since it was read would be forgotten with its fields.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        ]
        try:
            api.ask("PATCH", path, patch, _JSON_PATCH)
        except urllib.error.HTTPError as error:
            if error.code != 409 or not left:
                raise
        else:
            return True
    raise AssertionError("the loop ends by returning or raising")


def main() -> int:
    """The program; returns its exit status."""
    request: Mapping[str, Any] = json.load(sys.stdin)
    api = Api(request["address"], context(request))
    try:
        done = take(api, request["path"], request["fields"])
    except (urllib.error.URLError, OSError) as error:
        print(f"error: the fields of {request['path']} could not be taken: {error}", file=sys.stderr)
        return 1
    print("taken" if done else "nothing to take")
    return 0


if __name__ == "__main__":
    sys.exit(main())
