"""Everything that runs on a server, or on the operator's machine, by a command.

This package alone imports ``pulumi_command``: what must hold for every remote command (a checked host
key, dial limits, no echo of secrets, no delete on a server that is gone) is said here, once.
"""

from jarvis.remote.check import LocalCheck, LocalCheckArgs
from jarvis.remote.connection import Bastion, Target
from jarvis.remote.files import Directory, File, render
from jarvis.remote.local import LocalSecret, LocalSecretArgs
from jarvis.remote.script import RemoteScript, RemoteScriptArgs
from jarvis.remote.service import HostService, HostServiceArgs
from jarvis.remote.tools import ServerTools
from jarvis.remote.transfer import Transfer, TransferArgs

__all__ = [
    "Bastion",
    "Directory",
    "File",
    "HostService",
    "HostServiceArgs",
    "LocalCheck",
    "LocalCheckArgs",
    "LocalSecret",
    "LocalSecretArgs",
    "RemoteScript",
    "RemoteScriptArgs",
    "ServerTools",
    "Target",
    "Transfer",
    "TransferArgs",
    "render",
]
