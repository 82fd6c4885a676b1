"""The plugin process: `python -m toolchain.plugins.command ENGINE-ADDRESS`."""

import sys

from toolchain.plugins.command.provider import CommandProvider
from toolchain.plugins.common.server import serve

serve(CommandProvider, sys.argv[1:])
