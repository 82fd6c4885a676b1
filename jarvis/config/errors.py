"""What is raised where the configuration is wrong."""

from __future__ import annotations

import pulumi


class ConfigurationError(pulumi.RunError):
    """The configuration has mistakes; the message lists all of them, each with the path of its field."""
