"""Commands on servers and on the operator's machine.

Only this package imports ``pulumi_command``, so the rules for every remote command stand in one place: the
host key is checked, dials are limited, secrets are not echoed, and nothing is deleted on a server that is
gone.
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
