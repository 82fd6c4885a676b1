#!/bin/bash
# Succeeds when one of the API servers ADDRESS:PORT... says that it is ready. Asked as the user jarvis:health,
# since no API server answers anonymous clients.
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/health FACTOR=${JARVIS_PATIENCE_FACTOR:-1}

for server in "$@"; do
  if curl --silent --show-error --fail --max-time $((3 * FACTOR)) --output /dev/null --cacert "$FOLDER/ca.crt" \
    --cert "$FOLDER/client.crt" --key "$FOLDER/client.key" "https://$server/readyz"; then
    exit 0
  fi
done
printf 'not ready: %s\n' "$*" >&2
exit 1
