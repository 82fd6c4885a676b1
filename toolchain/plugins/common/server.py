"""The gRPC side of a provider: requests to `Provider` calls, answers and errors back, the process's life."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn

from toolchain.plugins.common.diff import Diff, names
from toolchain.plugins.common.engine import CHANNEL_OPTIONS
from toolchain.plugins.common.errors import Cancelled, InitFailed, ProviderError
from toolchain.plugins.common.protos import (
    empty_pb2,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)
from toolchain.plugins.common.provider import Checked, Operation, Provider
from toolchain.plugins.common.values import from_struct, to_struct

import grpc  # isort: skip  (after `engine`, which sets gRPC's environment)

# Operations that wait on a server hold a thread each; threads are made only as they are needed.
_THREADS = 256
# After a stop signal the engine waits about a second before it kills the process.
_GRACE_SECONDS = 0.7
# The longest error text; non-ASCII bytes triple in gRPC's percent encoding.
_ERROR_BYTES = 5000


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Puts a `Provider` behind the protocol. Method names and shapes are the protocol's."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._running = 0
        self._idle = threading.Condition()

    # --- the process ---

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:
        if request.engine_address:
            self._provider.engine.connect(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True,
            accept_resources=True,
            accept_outputs=True,
            supports_autonaming_configuration=self._provider.supports_autonaming,
        )

    def Attach(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._provider.engine.connect(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:
        return plugin_pb2.PluginInfo(version=self._provider.version)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:
        return provider_pb2.GetSchemaResponse(schema=self._provider.schema or "{}")

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._provider.cancellation.set()
        return empty_pb2.Empty()

    # --- configuration ---

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._operation(request, news=from_struct(request.news), olds=from_struct(request.olds))
            return _checked(self._provider.check_config(op))

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            answer = self._provider.diff_config(self._compared(request))
        if answer is not None:
            return diff_response(answer)
        return context.abort(grpc.StatusCode.UNIMPLEMENTED, "DiffConfig is not implemented")

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            self._provider.configure(from_struct(request.args), dict(request.variables))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True,
            acceptResources=True,
            acceptOutputs=True,
            supportsPreview=self._provider.supports_preview,
            supports_autonaming_configuration=self._provider.supports_autonaming,
        )

    # --- resources ---

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._operation(request, news=from_struct(request.news), olds=from_struct(request.olds))
            op.random_seed = request.randomSeed
            if request.HasField("autonaming"):
                mode = provider_pb2.CheckRequest.AutonamingOptions.Mode.Name(request.autonaming.mode)
                op.autonaming = (mode.lower(), request.autonaming.proposed_name)
            return _checked(self._provider.check(op))

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            return diff_response(self._provider.diff(self._compared(request)))

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._operation(request, news=from_struct(request.properties))
            op.preview, op.timeout = request.preview, request.timeout
            state = self._provider.create(op)
            return provider_pb2.CreateResponse(id=state.id, properties=to_struct(state.outputs))

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._compared(request)
            op.preview, op.timeout = request.preview, request.timeout
            return provider_pb2.UpdateResponse(properties=to_struct(self._provider.update(op)))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._operation(request, olds=from_struct(request.properties))
            op.id, op.timeout = request.id, request.timeout
            op.old_inputs = from_struct(request.old_inputs)
            self._provider.delete(op)
        return empty_pb2.Empty()

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = self._operation(request, olds=from_struct(request.properties))
            op.id, op.timeout = request.id, request.timeout
            op.old_inputs = from_struct(request.inputs)
            op.news = op.old_inputs
            state = self._provider.read(op)
            return provider_pb2.ReadResponse(
                id=state.id, properties=to_struct(state.outputs), inputs=to_struct(state.inputs)
            )

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering(context):
            op = Operation(
                "",
                request.tok,
                "",
                self._provider.engine,
                self._provider.cancellation,
                news=from_struct(request.args),
            )
            op.preview = bool(getattr(request, "preview", False))
            return provider_pb2.InvokeResponse(
                **{"return": to_struct(self._provider.invoke(request.tok, op))}
            )

    # --- helpers ---

    def _operation(self, request: Any, **fields: Any) -> Operation:
        # Older engines send the URN alone; its last parts are the type and the name.
        parts = request.urn.split("::")
        kind = request.type or (parts[2].split("$")[-1] if len(parts) > 3 else "")
        name = request.name or "::".join(parts[3:])
        provider = self._provider
        return Operation(request.urn, kind, name, provider.engine, provider.cancellation, **fields)

    def _compared(self, request: Any) -> Operation:
        op = self._operation(request, news=from_struct(request.news), olds=from_struct(request.olds))
        op.id = getattr(request, "id", "")
        op.old_inputs = from_struct(request.old_inputs)
        op.ignore_changes = list(request.ignoreChanges)
        return op

    @contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Count the operation as running, and turn its exceptions into the protocol's errors."""
        with self._idle:
            self._running += 1
        try:
            yield
        except InitFailed as error:
            _abort_init_failed(context, error)
        except Cancelled as error:
            context.abort(grpc.StatusCode.CANCELLED, shorten(str(error)))
        except ProviderError as error:
            context.abort(grpc.StatusCode.UNKNOWN, shorten(str(error)))
        except NotImplementedError:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "this provider has no such operation")
        except grpc.RpcError:
            raise
        except Exception as error:
            # A defect of ours. The traceback names no values, so no secret leaves with it.
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{where.filename}:{where.lineno}"
            text = f"{self._provider.name} plugin: internal error: {type(error).__name__} at {place}"
            traceback.print_tb(error.__traceback__, file=sys.stderr)
            context.abort(grpc.StatusCode.INTERNAL, text)
        finally:
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def wait_idle(self, seconds: float) -> bool:
        """Wait until no operation runs, at most so long; whether that came about."""
        with self._idle:
            return self._idle.wait_for(lambda: self._running == 0, seconds)


def _abort_init_failed(context: grpc.ServicerContext, error: InitFailed) -> NoReturn:
    reasons = [shorten(reason) for reason in error.reasons]
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.id, properties=to_struct(error.properties), reasons=reasons
    )
    if error.inputs is not None:
        detail.inputs.CopyFrom(to_struct(error.inputs))
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=shorten(str(error)))
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, shorten(str(error)))
    raise AssertionError("abort returns never")


def shorten(text: str) -> str:
    """The text, or its beginning and end when it is too long for an error: HTTP/2 carries errors in headers,
    and gRPC limits those to 16 kB (GRPC_ARG_ABSOLUTE_MAX_METADATA_SIZE) when it is not told otherwise."""
    if len(text.encode()) <= _ERROR_BYTES:
        return text
    raw = text.encode()
    head, tail = raw[: _ERROR_BYTES // 4], raw[-_ERROR_BYTES * 3 // 4 :]
    left_out = len(raw) - len(head) - len(tail)
    middle = f"\n[... {left_out} bytes left out ...]\n"
    return head.decode(errors="ignore") + middle + tail.decode(errors="ignore")


def _checked(checked: Checked) -> Any:
    failures = [provider_pb2.CheckFailure(property=f.property, reason=f.reason) for f in checked.failures]
    return provider_pb2.CheckResponse(inputs=to_struct(checked.inputs), failures=failures)


def diff_response(diff: Diff) -> Any:
    """The protocol's form of a `Diff`."""
    kinds = provider_pb2.PropertyDiff.Kind
    changed = bool(diff.changes) if diff.changed is None else diff.changed
    response = provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=names(diff.changes),
        replaces=names(diff.replaces),
        stables=diff.stables,
        deleteBeforeReplace=diff.delete_before_replace,
        hasDetailedDiff=True,
    )
    replaced = names(diff.replaces)
    for path, kind in diff.changes.items():
        forced = path in diff.replaces or (path in replaced)
        entry = response.detailedDiff[path]
        entry.kind = kinds.Value(f"{kind.value}_REPLACE" if forced else kind.value)
        entry.inputDiff = diff.input_diff or path in diff.inputs
    return response


def start(provider: Provider) -> tuple[grpc.Server, Servicer, int]:
    """A running server for the provider on a free loopback port; the server, its servicer, the port.

    Raises:
        RuntimeError: no port could be bound.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="op"),
        options=[*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)],
    )
    servicer = Servicer(provider)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, servicer, port


def serve(make: Callable[[], Provider], arguments: list[str]) -> NoReturn:
    """Run a plugin process: print the port, serve until told to stop or until the engine is gone.

    Args:
        make: builds the provider.
        arguments: the command line after the program's name; the last one is the engine's address.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    parent = os.getppid()
    provider = make()
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    if addresses:
        provider.engine.connect(addresses[-1])
    server, servicer, port = start(provider)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # The engine reads nothing more here; a stray print must not block on a full pipe.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # An engine that was killed tells nobody: the plugin sees that its parent is another one. A second is
    # short beside what the operations in flight take to notice, and costs nothing.
    while not stop.wait(1.0):
        if parent != 1 and os.getppid() != parent:
            break
    provider.cancellation.set()
    servicer.wait_idle(_GRACE_SECONDS)
    provider.close()
    server.stop(0)
    sys.stderr.flush()
    # Threads still blocked in an operation would hold a normal exit up.
    os._exit(0)


__all__ = ["Servicer", "diff_response", "serve", "shorten", "start"]
