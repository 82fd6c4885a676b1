#!/bin/bash
# Succeeds when the gateway at ADDRESS:PORT says that it is ready, and not about to stop. Its certificate is not
# checked: it is this server's own gateway, and is told nothing.
set -euo pipefail

exec curl --silent --show-error --fail --insecure --max-time $((2 * ${JARVIS_PATIENCE_FACTOR:-1})) --output /dev/null \
  "https://${1:?address:port}/readyz"
