#!/bin/bash
# Succeeds when this server's API server is ready and, where this server may hold the virtual address, the API
# answers under that address ADDRESS:PORT too: who asks there next must not come between two holders.
set -euo pipefail

readonly READY=${JARVIS_ROOT:-}/var/lib/jarvis/bin/apiserver-ready

"$READY" "127.0.0.1:${1##*:}"
if systemctl is-active --quiet jarvis-virtual-address.service; then
  "$READY" "$1"
fi
