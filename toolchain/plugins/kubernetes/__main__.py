"""The plugin process: `python -m toolchain.plugins.kubernetes ENGINE-ADDRESS`."""

import sys

from toolchain.plugins.common.server import serve
from toolchain.plugins.kubernetes.provider import KubernetesProvider

serve(KubernetesProvider, sys.argv[1:])
