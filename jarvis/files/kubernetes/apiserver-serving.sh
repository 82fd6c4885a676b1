#!/bin/bash
# Succeeds when this server's API server is ready and, where this server may hold the virtual address, the API
# answers under that address ADDRESS:PORT too: who asks there next must not come between two holders.
set -euo pipefail

readonly READY=${JARVIS_ROOT:-}/var/lib/jarvis/bin/apiserver-ready
readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/health FACTOR=${JARVIS_PATIENCE_FACTOR:-1}
readonly SCHEMA=application/com.github.proto-openapi.spec.v2.v1.0+protobuf

"$READY" "127.0.0.1:${1##*:}"
# The schema is built when it is first asked for, and clients give it 32 s (client-go's limit for discovery).
# On a slow server that is too short: it is built here.
if [ "$FACTOR" -gt 1 ]; then
  curl --silent --show-error --fail --max-time $((20 * FACTOR)) --output /dev/null --header "Accept: $SCHEMA" \
    --cacert "$FOLDER/ca.crt" --cert "$FOLDER/client.crt" --key "$FOLDER/client.key" \
    "https://127.0.0.1:${1##*:}/openapi/v2"
fi
if systemctl is-active --quiet jarvis-virtual-address.service; then
  "$READY" "$1"
fi
