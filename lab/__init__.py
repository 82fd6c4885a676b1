"""Servers in a box: the embedded default environment of Jarvis and its test bed.

A lab is a few Debian servers on this machine, each a podman container with systemd as PID 1, or a virtual
machine, with a disk of its own, a memory cap and an address on the lab's bridge.

See ``python -m lab --help``.
"""
