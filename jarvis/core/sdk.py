"""What the SDK does by default and this program must not (docs/decisions/047-sdk-tricks.md)."""

from __future__ import annotations

import asyncio
from typing import cast

import pulumi
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS


def keep_secrets_out_of_logs() -> None:
    """The SDK would write the stack's outputs, secrets in plain, to its debug log, and so to event logs.

    Raises ``AttributeError`` under an SDK that logs otherwise, for which this is to be done anew.
    """
    if not hasattr(pulumi.log, "debug") or vars(resource).get("log") is not pulumi.log:
        raise AttributeError("this SDK of Pulumi does not write its debug log by pulumi.log.debug")
    pulumi.log.debug = lambda *_, **__: None


def keep_stack_traces_out_of_state() -> None:
    """The SDK has the engine store the Python stack of every resource: a fifth of the whole state, which is
    written anew at each step. A resource's parents say where it comes from.

    Raises ``AttributeError`` under an SDK that takes the traces otherwise, for which this is to be done anew.
    """
    if not hasattr(resource, "_get_stack_trace"):
        raise AttributeError("this SDK of Pulumi does not take stack traces by pulumi.runtime.resource")
    resource._get_stack_trace = source_pb2.StackTrace


def file_asset(path: str, sha256: str) -> pulumi.FileAsset:
    """The file at ``path``, of which the SHA-256 is known (64 hexadecimal digits). With the SDK's own asset
    the engine reads the whole file in each run, once for each resource, only to find that out.

    Raises ``AttributeError`` under an SDK that marks assets otherwise.
    """
    known = {rpc._special_sig_key: rpc._special_asset_sig, "path": path, "hash": sha256}
    return cast("pulumi.FileAsset", known)


async def settled() -> bool:
    """Returns once no Output is outstanding, or one has failed, which the SDK then tells: whether none has.

    The SDK waits too, but only once the program has ended, which is too late to say what came of it.
    """
    while True:
        # One that has failed stays in the list, any other leaves it when it is done.
        tasks = list(SETTINGS.outputs)
        failed = any(task.done() and (task.cancelled() or task.exception()) for task in tasks)
        pending = [task for task in tasks if not task.done()]
        if failed or not pending:
            return not failed
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
