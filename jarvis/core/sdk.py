"""Defaults of Pulumi's SDK that this program must change (docs/decisions/047-sdk-tricks.md)."""

from __future__ import annotations

import asyncio
from typing import cast

import pulumi
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS


def keep_secrets_out_of_logs() -> None:
    """Stops the SDK from writing stack outputs, secrets in plain, to its debug log and so to event logs.

    Raises:
        AttributeError: this SDK logs in another way, and the change is to be made anew.
    """
    if not hasattr(pulumi.log, "debug") or vars(resource).get("log") is not pulumi.log:
        raise AttributeError("this SDK of Pulumi does not write its debug log by pulumi.log.debug")
    pulumi.log.debug = lambda *_, **__: None


def keep_stack_traces_out_of_state() -> None:
    """Stops the SDK from storing the Python stack of every resource in the state.

    Traces are a fifth of the state, which is written anew at each step. A resource's parents say where it
    comes from.

    Raises:
        AttributeError: this SDK takes traces in another way, and the change is to be made anew.
    """
    if not hasattr(resource, "_get_stack_trace"):
        raise AttributeError("this SDK of Pulumi does not take stack traces by pulumi.runtime.resource")
    resource._get_stack_trace = source_pb2.StackTrace


def file_asset(path: str, sha256: str) -> pulumi.FileAsset:
    """A file asset whose digest the engine need not compute.

    With the SDK's own asset the engine reads the whole file in each run, once for each resource.

    Args:
        path: path of the file.
        sha256: its SHA-256, 64 hexadecimal digits.

    Raises:
        AttributeError: this SDK marks assets in another way.
    """
    known = {rpc._special_sig_key: rpc._special_asset_sig, "path": path, "hash": sha256}
    return cast("pulumi.FileAsset", known)


async def settled() -> bool:
    """Waits until no Output is outstanding or one has failed. The SDK reports the failure.

    The SDK waits as well, but only once the program has ended: too late to act on the result.

    Returns:
        Whether no Output has failed.
    """
    while True:
        # A failed task stays in the list; any other leaves it when it is done.
        tasks = list(SETTINGS.outputs)
        failed = any(task.done() and (task.cancelled() or task.exception()) for task in tasks)
        pending = [task for task in tasks if not task.done()]
        if failed or not pending:
            return not failed
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
