"""What a plugin says to the engine: log lines of a resource and its one-line progress."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from enum import Enum

# gRPC's fork handlers would only slow the many children (ssh, kubectl) a plugin starts.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from toolchain.plugins.common.protos import engine_pb2, engine_pb2_grpc

# Messages carry whole resource states; the engine allows as much (sdk/go/common/util/rpcutil).
MAX_MESSAGE_BYTES = 400 * 1024 * 1024
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]
# A log line that the engine does not take within this time is dropped rather than holding the work up.
_LOG_TIMEOUT_SECONDS = 5.0


class Severity(Enum):
    """The engine's log levels."""

    DEBUG = 0
    INFO = 1
    WARNING = 2
    ERROR = 3


class Engine:
    """The engine's logging service. Without an address (tests, a plugin run by hand) lines go to stderr."""

    def __init__(self, address: str | None = None) -> None:
        self._lock = threading.Lock()
        self._address: str | None = None
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            self.connect(address)

    def connect(self, address: str) -> None:
        """Talk to the engine at `host:port` from now on. Connects lazily; connecting twice is harmless."""
        with self._lock:
            if address == self._address:
                return
            self._address = address
            channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
            self._stub = engine_pb2_grpc.EngineStub(channel)

    def log(self, severity: Severity, message: str, urn: str = "", *, status: bool = False) -> None:
        """Show `message` at the resource `urn`; as its passing one-line progress when `status`.

        Never raises: a log line that cannot be delivered must not fail the work it tells of.
        """
        stub = self._stub
        if stub is None:
            print(f"{severity.name.lower()}: {message}", file=sys.stderr, flush=True)
            return
        request = engine_pb2.LogRequest(
            severity=engine_pb2.LogSeverity.ValueType(severity.value),
            message=message,
            urn=urn,
            ephemeral=status,
        )
        # An error means the engine is gone or its channel is closed: there is nobody left to tell.
        with contextlib.suppress(grpc.RpcError, ValueError):
            stub.Log(request, timeout=_LOG_TIMEOUT_SECONDS)
