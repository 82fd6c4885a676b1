"""Waiting for objects: until ready, until gone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from toolchain.plugins.common.engine import Severity
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.provider import Operation
from toolchain.plugins.kubernetes import naming, readiness, report
from toolchain.plugins.kubernetes.client import ApiError, Client, Unreachable
from toolchain.plugins.kubernetes.naming import Kind
from toolchain.plugins.kubernetes.readiness import Progress, Related

Object = dict[str, Any]

# A look costs milliseconds; the pace slows down so that many waiting objects do not add up.
_FIRST_LOOK, _SLOWEST_LOOK, _SLOWING = 0.1, 1.0, 1.4
# Pods are looked at this seldom: their complaints are for a reader, not for the decision.
_COMPLAINT_SECONDS = 2.0


class NotReady(Exception):
    """The object exists and did not become ready.

    Attributes:
        live: the object as it last was. reasons: what is told to the operator, the main one first.
    """

    def __init__(self, live: Object, reasons: list[str]) -> None:
        super().__init__(reasons[0])
        self.live, self.reasons = live, reasons


def seconds_for(inputs: Mapping[str, Any], custom: float) -> float:
    """How long to wait: the timeoutSeconds annotation, else customTimeouts, else the default.

    Raises:
        ProviderError: the annotation is no number.
    """
    text = naming.annotations_of(inputs).get(naming.TIMEOUT)
    if text is None:
        return custom or readiness.DEFAULT_SECONDS
    try:
        return float(text)
    except ValueError:
        where = f'metadata.annotations["{naming.TIMEOUT}"]'
        raise ProviderError(f"{where}: {text!r} is not a number of seconds") from None


def related(client: Client, kind: Kind, live: Object) -> Related:
    """What the readiness of `live` depends on, asked for when needed."""
    namespace, name = live["metadata"].get("namespace", ""), live["metadata"]["name"]

    def slices() -> Sequence[Mapping[str, Any]]:
        path = client.path(Kind("discovery.k8s.io/v1", "EndpointSlice"), namespace)
        listed = client.request("GET", path, query={"labelSelector": f"kubernetes.io/service-name={name}"})
        return listed.get("items") or []

    def storage_class() -> Mapping[str, Any] | None:
        wanted = (live.get("spec") or {}).get("storageClassName")
        if not wanted:
            return None
        try:
            found = client.request("GET", client.path(Kind("storage.k8s.io/v1", "StorageClass"), "", wanted))
        except ApiError:
            return None
        return dict(found)

    return Related(slices, storage_class)


def now(client: Client, kind: Kind, live: Object) -> Progress:
    """How far the object is at this moment."""
    return readiness.progress(kind, live, related(client, kind, live))


def until_ready(client: Client, kind: Kind, live: Object, seconds: float, op: Operation) -> Object:
    """Wait until the object is ready; the object then. Shows progress at the resource.

    Raises:
        NotReady: it failed, was deleted, did not become ready in time, or the engine cancelled.
    """
    name = live["metadata"]["name"]
    path = client.path(kind, live["metadata"].get("namespace", ""), name)
    uid = live["metadata"].get("uid")
    end = time.monotonic() + seconds
    pace, shown, next_complaint = _FIRST_LOOK, "", time.monotonic() + _COMPLAINT_SECONDS
    try:
        while True:
            step = _judged(client, kind, live)
            if step.message and step.message != shown:
                shown = step.message
                op.status(shown)
            if step.done:
                return live
            if step.failed:
                raise NotReady(live, [step.message, *_details(client, kind, live)])
            if time.monotonic() >= end:
                first = f"'{name}' timed out waiting to be Ready"
                raise NotReady(live, [first, step.message, *_details(client, kind, live)])
            if time.monotonic() >= next_complaint:
                next_complaint = time.monotonic() + _COMPLAINT_SECONDS
                for text in report.complaints(report.pods_of(client, kind, live)):
                    shown = text
                    op.status(text, Severity.WARNING)
            op.cancellation.wait(min(pace, max(0.0, end - time.monotonic())))
            op.cancellation.check()
            pace = min(pace * _SLOWING, _SLOWEST_LOOK)
            live = _look(client, path) or live
            if live["metadata"].get("uid") != uid:
                raise NotReady(live, [f"'{name}' was replaced by somebody else while waiting for it"])
    except Cancelled:
        raise NotReady(live, [f"'{name}' was made, but waiting for it was cancelled"]) from None
    except ApiError as error:
        gone = "was deleted by somebody else" if error.status == 404 else "can no longer be read"
        raise NotReady(live, [f"'{name}' {gone} while waiting for it: {error}"]) from None


def _judged(client: Client, kind: Kind, live: Object) -> Progress:
    """How far the object is; not ready while the API server is away or busy. Raises ApiError otherwise."""
    try:
        return now(client, kind, live)
    except (ApiError, Unreachable) as error:
        if not _passing(error):
            raise
        return Progress(False, str(error))


def _passing(error: ApiError | Unreachable) -> bool:
    """Whether the next look may succeed: the official plugin watches, and its watches come back."""
    return isinstance(error, Unreachable) or error.status == 429 or error.status >= 500


def _look(client: Client, path: str) -> Object | None:
    """The object now; None as long as the API server is away or busy.

    Raises:
        ApiError: it refused, or the object is gone.
    """
    try:
        found: Object = client.request("GET", path)
    except (ApiError, Unreachable) as error:
        if not _passing(error):
            raise
        return None
    return found


def _details(client: Client, kind: Kind, live: Object) -> list[str]:
    return report.details(client, kind, live)


def until_gone(client: Client, where: tuple[str, str | None], seconds: float, op: Operation) -> None:
    """Wait until the object at a path, of a uid, is no more (or is another one).

    Raises:
        ProviderError: it is still there in the end; tells which finalizers hold it.
        Cancelled: the engine cancelled.
    """
    path, uid = where
    end = time.monotonic() + seconds
    pace, held = _FIRST_LOOK / 2, "not known"
    while True:
        live: Object | None
        try:
            live = _look(client, path)
        except ApiError as error:
            if error.status == 404:
                return
            raise
        if live is not None and uid and live["metadata"].get("uid") != uid:
            return
        if live is not None:
            held = ", ".join(live["metadata"].get("finalizers") or []) or "none"
        if time.monotonic() >= end:
            name = path.rpartition("/")[2]
            raise ProviderError(
                f"timed out waiting for {name} to be deleted; finalizers that hold it: {held}"
            )
        op.status("Resource scheduled for deletion")
        op.cancellation.wait(pace)
        op.cancellation.check()
        pace = min(pace * _SLOWING, _SLOWEST_LOOK)
