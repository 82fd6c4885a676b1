"""Jarvis: OpenStack on bare metal as typed Pulumi resources with a dependency graph and true diffs."""
