"""Why an object is not ready: what its pods say, their last events and log lines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from toolchain.plugins.common.errors import ProviderError
from toolchain.plugins.kubernetes.client import ApiError, Client
from toolchain.plugins.kubernetes.naming import Kind

Object = Mapping[str, Any]

# Enough to see what is wrong, little enough to read.
_PODS = 3
_EVENTS = 5
_LOG_LINES = 15
_POD = Kind("v1", "Pod")


def selector(kind: Kind, obj: Object) -> str | None:
    """The label selector of the pods an object makes or needs; None when it has none."""
    spec = obj.get("spec") or {}
    found = spec.get("selector") or {}
    labels = found if kind.kind == "Service" else found.get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or None


def pods_of(client: Client, kind: Kind, obj: Object) -> list[Object]:
    """The object's pods, newest first; a Pod is its own. Empty when they cannot be listed."""
    if kind == _POD:
        return [obj]
    labels = selector(kind, obj)
    if labels is None:
        return []
    namespace = obj["metadata"].get("namespace", "")
    try:
        listed = client.request(
            "GET", client.path(_POD, namespace), query={"labelSelector": labels, "limit": "50"}
        )
    except (ApiError, ProviderError):
        return []
    items: list[Object] = listed.get("items") or []
    return sorted(items, key=lambda pod: pod["metadata"].get("creationTimestamp") or "", reverse=True)


def complaint(pod: Object) -> str | None:
    """One line on why a pod is not ready; None when nothing is wrong with it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return None
    head = f"[Pod {metadata.get('namespace')}/{metadata['name']}]: "
    for found in status.get("conditions") or []:
        if found.get("type") == "PodScheduled" and found.get("status") == "False":
            return f"{head}[{found.get('reason')}] {found.get('message')}"
    parts = []
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting")
        ended = (container.get("state") or {}).get("terminated")
        last = (container.get("lastState") or {}).get("terminated")
        if waiting and waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            text = f"[{container['name']}][{waiting['reason']}] {waiting.get('message', '')}".rstrip()
            parts.append(text + (f" (last exit code {last.get('exitCode')})" if last else ""))
        elif ended and ended.get("exitCode"):
            parts.append(f'container "{container["name"]}" exited with code {ended["exitCode"]}')
        elif container.get("started") is not False and not container.get("ready") and not (waiting or ended):
            parts.append(f'container "{container["name"]}" runs but is not ready')
    return head + "; ".join(parts) if parts else None


def _containers(status: Object) -> Iterator[Object]:
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def complaints(pods: list[Object]) -> list[str]:
    """The complaints of the newest pods that have one."""
    found = (complaint(pod) for pod in pods)
    return [text for text in found if text][:_PODS]


def details(client: Client, kind: Kind, obj: Object) -> list[str]:
    """All that helps to understand a failure, as paragraphs: conditions, pods, events, log lines."""
    out = [
        f"[{found.get('reason')}] {found.get('message')}"
        for found in (obj.get("status") or {}).get("conditions") or []
        if found.get("status") == "False" and found.get("message")
    ]
    own = _events(client, obj)
    if own:
        out.append(f"last events of {kind.kind} {obj['metadata']['name']}:\n{own}")
    troubled = [pod for pod in pods_of(client, kind, obj) if _unready(pod)][:_PODS]
    for pod in troubled:
        name = pod["metadata"]["name"]
        if text := complaint(pod):
            out.append(text)
        if kind != _POD and (events := _events(client, pod)):
            out.append(f"last events of Pod {name}:\n{events}")
        out.extend(_logs(client, pod))
    return out


def _unready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(found.get("type") == "Ready" and found.get("status") == "True" for found in conditions)
    return not ready and (pod.get("status") or {}).get("phase") != "Succeeded"


def _events(client: Client, obj: Object) -> str:
    metadata = obj["metadata"]
    with contextlib.suppress(ApiError, ProviderError):
        listed = client.request(
            "GET",
            client.path(Kind("v1", "Event"), metadata.get("namespace") or "default"),
            query={"fieldSelector": f"involvedObject.uid={metadata.get('uid')}"},
        )
        events = sorted(listed.get("items") or [], key=_when)
        return "\n".join(
            f"  {event.get('type')} {event.get('reason')}: {event.get('message')}"
            for event in events[-_EVENTS:]
        )
    return ""


def _when(event: Object) -> str:
    last = event.get("lastTimestamp") or event.get("eventTime")
    return str(last or event["metadata"].get("creationTimestamp") or "")


def _logs(client: Client, pod: Object) -> Iterator[str]:
    metadata = pod["metadata"]
    for container in _containers(pod.get("status") or {}):
        ended = (container.get("state") or {}).get("terminated")
        if container.get("ready") or (ended and not ended.get("exitCode")):
            continue
        previous = "terminated" in (container.get("lastState") or {}) and "running" not in (
            container.get("state") or {}
        )
        with contextlib.suppress(ApiError, ProviderError):
            text: str = client.request(
                "GET",
                client.path(_POD, metadata.get("namespace", ""), metadata["name"]) + "/log",
                text=True,
                query={
                    "container": container["name"],
                    "tailLines": str(_LOG_LINES),
                    "previous": str(previous).lower(),
                },
            )
            lines = text.rstrip().splitlines()
            if lines:
                tail = "\n".join("  " + line for line in lines)
                yield f"last log lines of Pod {metadata['name']}, container {container['name']}:\n{tail}"
