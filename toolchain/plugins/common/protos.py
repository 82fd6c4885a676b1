"""The protocol buffer modules of Pulumi's plugin protocol, without the rest of its Python SDK.

The modules ship inside the `pulumi` package, whose import costs half a second of a plugin's start; the
protocol modules alone cost a tenth. They import each other relatively, so a package of our own whose
path is the SDK's folder loads them and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf import empty_pb2, struct_pb2
    from pulumi.runtime.proto import (
        engine_pb2,
        engine_pb2_grpc,
        plugin_pb2,
        provider_pb2,
        provider_pb2_grpc,
        status_pb2,
    )
else:
    _ALIAS = "_pulumi_protocol"

    def _load(name: str) -> types.ModuleType:
        """The protocol module `name`, loaded through the alias package.

        Raises:
            ImportError: the Pulumi SDK is not installed beside this interpreter.
        """
        if _ALIAS not in sys.modules:
            spec = importlib.util.find_spec("pulumi")
            if spec is None or spec.origin is None:
                raise ImportError("the Python package `pulumi` is missing: run `make env`")
            package = types.ModuleType(_ALIAS)
            package.__path__ = [str(Path(spec.origin).parent / "runtime" / "proto")]
            sys.modules[_ALIAS] = package
        return importlib.import_module(f"{_ALIAS}.{name}")

    from google.protobuf import empty_pb2, struct_pb2

    engine_pb2 = _load("engine_pb2")
    engine_pb2_grpc = _load("engine_pb2_grpc")
    plugin_pb2 = _load("plugin_pb2")
    provider_pb2 = _load("provider_pb2")
    provider_pb2_grpc = _load("provider_pb2_grpc")
    status_pb2 = _load("status_pb2")

__all__ = [
    "empty_pb2",
    "engine_pb2",
    "engine_pb2_grpc",
    "plugin_pb2",
    "provider_pb2",
    "provider_pb2_grpc",
    "status_pb2",
    "struct_pb2",
]
