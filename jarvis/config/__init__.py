"""The configuration of one environment, ``Pulumi.<stack>.yaml``, checked before anything changes.

No Pulumi resource is made here.
"""

from jarvis.config.artifacts import Artifacts, load_artifacts
from jarvis.config.environment import Environment
from jarvis.config.errors import ConfigurationError
from jarvis.config.load import load_environment, parse_environment
from jarvis.config.server import Server
from jarvis.roles import ServerRole

__all__ = [
    "Artifacts",
    "ConfigurationError",
    "Environment",
    "Server",
    "ServerRole",
    "load_artifacts",
    "load_environment",
    "parse_environment",
]
