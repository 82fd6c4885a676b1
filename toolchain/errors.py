"""The errors of the toolchain. Their text is for the operator: what failed, where to look, what to type."""

from __future__ import annotations


class ToolchainError(Exception):
    """Something that ends the command; its text is shown as it is."""


class SourceError(ToolchainError):
    """One source cannot give one tool; the next source is tried."""
