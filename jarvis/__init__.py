"""Jarvis: OpenStack on bare metal as typed Pulumi resources with a dependency graph and true diffs."""

# As in pyproject.toml. What each part says of stacks: docs/operating.md, Which stacks a release takes.
VERSION = "0.1.0"
