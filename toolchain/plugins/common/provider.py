"""The base class of a provider: plain Python operations that `server` puts behind the gRPC protocol."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from toolchain.plugins.common.diff import Diff
from toolchain.plugins.common.engine import Engine, Severity
from toolchain.plugins.common.errors import Cancelled, ProviderError
from toolchain.plugins.common.values import Value

Properties = dict[str, Value]


class Cancellation:
    """Tells every running operation that the engine wants it to stop, once and for all."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0

    def set(self) -> None:
        """Cancel: run every registered callback once; later `check` calls raise."""
        with self._lock:
            self._event.set()
            callbacks = list(self._callbacks.values())
            self._callbacks.clear()
        for callback in callbacks:
            with contextlib.suppress(Exception):
                callback()

    def is_set(self) -> bool:
        """Whether the engine has cancelled."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until cancelled: then True at once."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raises Cancelled when the engine has cancelled."""
        if self._event.is_set():
            raise Cancelled("cancelled")

    @contextlib.contextmanager
    def calling(self, callback: Callable[[], None]) -> Iterator[None]:
        """While the block runs, a cancellation calls `callback` (from another thread).

        Raises:
            Cancelled: already cancelled on entry.
        """
        with self._lock:
            if self._event.is_set():
                raise Cancelled("cancelled")
            number = self._next
            self._next += 1
            self._callbacks[number] = callback
        try:
            yield
        finally:
            with self._lock:
                self._callbacks.pop(number, None)


@dataclass
class Operation:
    """One request about one resource (or, with `urn` of a provider, about its configuration).

    Attributes:
        urn, type, name: of the resource; `type` is the schema's token ("command:local:Command").
        engine: where log lines go; use `log`, `status`, `warn`.
        cancellation: shared by all operations of the process.
        id: the resource's id; empty for Check and Create.
        news: the new inputs (Check, Diff, Create, Update), or an invoke's arguments; in a Read the
            known inputs.
        olds: the old outputs; in a Check the old inputs.
        old_inputs: the old inputs (Diff, Update, Delete, Read).
        preview: nothing may be changed; unknown results are `UNKNOWN`.
        timeout: seconds given by customTimeouts; 0: none given.
        ignore_changes: property paths the engine already put back (for Diff and Update).
        random_seed: what a random name is to be made of, so that preview and update agree (Check).
        autonaming: None, or (mode, name): mode one of "propose", "enforce", "disable" (Check).
    """

    urn: str
    type: str
    name: str
    engine: Engine
    cancellation: Cancellation
    id: str = ""
    news: Properties = field(default_factory=dict)
    olds: Properties = field(default_factory=dict)
    old_inputs: Properties = field(default_factory=dict)
    preview: bool = False
    timeout: float = 0.0
    ignore_changes: list[str] = field(default_factory=list)
    random_seed: bytes = b""
    autonaming: tuple[str, str] | None = None

    def status(self, message: str, severity: Severity = Severity.INFO) -> None:
        """Show one line of progress beside the resource; the next one replaces it."""
        self.engine.log(severity, message, self.urn, status=True)

    def log(self, message: str, severity: Severity = Severity.INFO) -> None:
        """A lasting message about the resource."""
        self.engine.log(severity, message, self.urn)

    def warn(self, message: str) -> None:
        """A lasting warning about the resource."""
        self.log(message, Severity.WARNING)


@dataclass(frozen=True)
class CheckFailure:
    """One mistake in the inputs: `property` is its path, `reason` what is wrong and what to do."""

    property: str
    reason: str


@dataclass
class Checked:
    """The inputs to use from now on, with every mistake found."""

    inputs: Properties
    failures: list[CheckFailure] = field(default_factory=list)


@dataclass
class State:
    """A resource as it is; `id` empty when it is no more."""

    id: str
    outputs: Properties = field(default_factory=dict)
    inputs: Properties = field(default_factory=dict)


class Provider:
    """Override what the provider does. Any operation may raise ProviderError (or a kind of it); its text is
    shown to the operator. Operations run in threads, many at a time.

    Attributes:
        name: the package's name. version: the official plugin's version this one stands for.
        schema: the JSON text for GetSchema; SDKs carry their own, so a name and version are enough.
        supports_preview: Create and Update are also called in previews (with `preview` set).
        supports_autonaming: whether Check wants `autonaming`.
    """

    name: str = ""
    version: str = ""
    schema: str = ""
    supports_preview: bool = True
    supports_autonaming: bool = False

    def __init__(self) -> None:
        self.engine = Engine()
        self.cancellation = Cancellation()

    def check_config(self, op: Operation) -> Checked:
        """Validate the provider's own inputs. Default: as they are."""
        return Checked(op.news)

    def diff_config(self, op: Operation) -> Diff | None:
        """Compare the provider's inputs. None: not implemented, and the engine compares them itself."""
        return None

    def configure(self, inputs: Properties, variables: Mapping[str, str]) -> None:
        """Take the provider's inputs; they may hold unknowns in a preview."""

    def check(self, op: Operation) -> Checked:
        """Validate `op.news` and fill in defaults. `op.olds` are the old inputs."""
        return Checked(op.news)

    def diff(self, op: Operation) -> Diff:
        """What changes from `op.old_inputs` / `op.olds` to `op.news`."""
        raise NotImplementedError

    def create(self, op: Operation) -> State:
        """Make the resource of `op.news`. In a preview: what it would look like, id optional."""
        raise NotImplementedError

    def update(self, op: Operation) -> Properties:
        """Change the resource `op.id` from `op.olds` to `op.news`; its new outputs."""
        raise NotImplementedError

    def delete(self, op: Operation) -> None:
        """Remove the resource `op.id` with the outputs `op.olds`. Already gone is success."""
        raise NotImplementedError

    def read(self, op: Operation) -> State:
        """The resource as it is now; to be imported when `op.olds` is empty."""
        return State(op.id, op.olds, op.old_inputs)

    def invoke(self, token: str, op: Operation) -> Properties:
        """Call the function `token` with `op.news`."""
        raise ProviderError(f"the {self.name} provider has no function {token}")

    def close(self) -> None:
        """The process ends: release what outlives it. Called once, after `cancellation` is set."""
