#!/bin/bash
# Succeeds when controller manager and scheduler of this server are healthy, leading or not.
# Both serve these paths to anyone on the loopback address, by a certificate made when they start.
set -euo pipefail

for port in 10257 10259; do
  curl --silent --show-error --fail --max-time $((3 * ${JARVIS_PATIENCE_FACTOR:-1})) --insecure --output /dev/null \
    "https://127.0.0.1:$port/healthz"
done
