"""Offline stand-ins for Pulumi's official plugins, for machines that cannot reach them.

Each speaks the engine's provider protocol (gRPC) under the official plugin's schema and rests on tools that
are not ours: OpenSSH, kubectl. A stack may be continued with the official plugin, and the other way round.
"""
