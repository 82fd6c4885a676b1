"""What the SDK does by default and this program must not."""

from __future__ import annotations

import asyncio
import atexit
import gc
from typing import cast

import pulumi
from pulumi.runtime import resource, rpc
from pulumi.runtime.proto import source_pb2
from pulumi.runtime.settings import SETTINGS


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


def keep_garbage() -> None:
    """The program makes some hundred thousand objects that live as long as it does, a few seconds: looking
    for garbage among them, again and again, took a tenth of its time, and once more at its end 0.2 s."""
    gc.disable()
    atexit.register(gc.freeze)


def file_asset(path: str, sha256: str) -> pulumi.FileAsset:
    """The file at ``path``, of which the SHA-256 is known (64 hexadecimal digits). With the SDK's own asset
    the engine reads the whole file in each run, once for each resource, only to find that out."""
    known = {rpc._special_sig_key: rpc._special_asset_sig, "path": path, "hash": sha256}
    return cast("pulumi.FileAsset", known)


# A resource whose inputs are known is on its way to the engine after fifteen.
_TURNS = 20


async def send() -> None:
    """Lets what has been registered so far go to the engine, which begins with it, and starts its plugins,
    while the program goes on."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def settled() -> bool:
    """Returns once no Output is outstanding, or one has failed, which the SDK then tells: whether none has.

    The SDK waits too, once the program has ended: for any of all Outputs, again and again, which takes a time
    that grows with their number squared. It was half of the program's time with 330 resources.
    """
    while True:
        # One that has failed stays in the list, any other leaves it when it is done.
        tasks = list(SETTINGS.outputs)
        failed = any(task.done() and (task.cancelled() or task.exception()) for task in tasks)
        pending = [task for task in tasks if not task.done()]
        if failed or not pending:
            return not failed
        await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
