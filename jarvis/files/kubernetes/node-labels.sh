#!/bin/bash
# Brings the labels of this node to those of node-labels.json, a merge patch:  node-labels NODE
# The kubelet sets labels when it registers a node, and never again.
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/kubelet FACTOR=${JARVIS_PATIENCE_FACTOR:-1}
readonly DEADLINE=$((SECONDS + ${JARVIS_PATIENCE:-30} * FACTOR))

# The way to the API servers cuts connections to one that it takes for lost: a slow one is back after the next check.
until curl --silent --show-error --fail --max-time $((10 * FACTOR)) --output /dev/null --cacert "$FOLDER/ca.crt" \
  --cert "$FOLDER/client.crt" --key "$FOLDER/client.key" --request PATCH \
  --header 'Content-Type: application/merge-patch+json' --data "@$FOLDER/node-labels.json" \
  "https://127.0.0.1:7443/api/v1/nodes/${1:?the node}"; do
  [ "$SECONDS" -lt "$DEADLINE" ] || exit 1
  sleep 1
done
