"""What the SDK does by default and this program must not."""

from __future__ import annotations

import pulumi
from pulumi.runtime import resource
from pulumi.runtime.proto import source_pb2


def keep_secrets_out_of_logs() -> None:
    """The SDK would write the stack's outputs, secrets in plain, to its debug log, and so to event logs."""
    pulumi.log.debug = lambda *_, **__: None


def keep_stack_traces_out_of_state() -> None:
    """The SDK has the engine store the Python stack of every resource: a fifth of the whole state, which is
    written anew at each step. A resource's parents say where it comes from.

    Raises ``AttributeError`` under an SDK that takes the traces otherwise, for which this is to be done anew.
    """
    if not hasattr(resource, "_get_stack_trace"):
        raise AttributeError("this SDK of Pulumi does not take stack traces by pulumi.runtime.resource")
    resource._get_stack_trace = source_pb2.StackTrace
