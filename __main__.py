"""The Pulumi program: loads the environment of the stack, builds it, and exports how to reach it."""

import pulumi

from jarvis.config import load_artifacts, load_environment
from stacks.cloud import build

# The SDK would write the stack's outputs, secrets in plain, to its debug log, which stands in event logs too.
pulumi.log.debug = lambda *_, **__: None

cloud = build(load_environment(), load_artifacts())

pulumi.export("api", cloud.api)
pulumi.export("gateway", cloud.gateway)
pulumi.export("gateway_authority", cloud.gateway_authority)
pulumi.export("kubeconfig", cloud.kubeconfig)
pulumi.export("clouds", cloud.clouds)
