"""The Pulumi program: loads the environment of the stack, builds it, and exports how to reach it."""

import pulumi

from jarvis.config import load_artifacts, load_environment
from jarvis.core.sdk import keep_secrets_out_of_logs, keep_stack_traces_out_of_state
from stacks.cloud import build

keep_secrets_out_of_logs()
keep_stack_traces_out_of_state()

cloud = build(load_environment(), load_artifacts())

pulumi.export("api", cloud.api)
pulumi.export("gateway", cloud.gateway)
pulumi.export("gateway_authority", cloud.gateway_authority)
pulumi.export("kubeconfig", cloud.kubeconfig)
pulumi.export("clouds", cloud.clouds)
pulumi.export("storage", cloud.storage)
