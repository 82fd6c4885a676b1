"""The error for a wrong configuration."""

from __future__ import annotations

import pulumi


class ConfigurationError(pulumi.RunError):
    """Mistakes in the configuration. The message lists all of them, each with the path of its field."""
