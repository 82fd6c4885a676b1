"""The Pulumi program: loads the environment of the stack, builds it, and exports how to reach it."""

import pulumi

from jarvis import VERSION
from jarvis.core.deployed import RELEASE
from jarvis.core.sdk import (
    keep_secrets_out_of_logs,
    keep_stack_traces_out_of_state,
    settled,
)
from stacks.access import keep_access, stack_folder
from stacks.cloud import build
from stacks.start import begun, left

keep_secrets_out_of_logs()
keep_stack_traces_out_of_state()


async def program() -> dict[str, pulumi.Input[object]]:
    """All resources of the stack; what it exports."""
    async with begun() as run:
        cloud = await build(run.env, run.artifacts, run.drift)
    keep_access(cloud.files, stack_folder())
    # Without a new record, where something failed, the engine keeps the one before.
    deployed = await left(run, cloud.registered) if await settled() else {}
    return {
        RELEASE: VERSION,
        "api": cloud.api,
        "gateway": cloud.gateway,
        "gateway_authority": cloud.gateway_authority,
        "kubeconfig": cloud.kubeconfig,
        "clouds": cloud.clouds,
        "storage": cloud.storage,
        **deployed,
    }


pulumi.run(program)
