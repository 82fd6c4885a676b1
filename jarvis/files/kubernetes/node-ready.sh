#!/bin/bash
# Succeeds when the kubelet is healthy and the API server calls this node ready:  node-ready NODE
# It asks as the kubelet itself, by the way that the kubelet goes.
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/kubelet FACTOR=${JARVIS_PATIENCE_FACTOR:-1}
readonly node=${1:?the node}

curl --silent --show-error --fail --max-time $((3 * FACTOR)) --output /dev/null http://127.0.0.1:10248/healthz
# A table has the state in its second column, as kubectl shows it.
row=$(curl --silent --show-error --fail --max-time $((5 * FACTOR)) --cacert "$FOLDER/ca.crt" \
  --cert "$FOLDER/client.crt" --key "$FOLDER/client.key" \
  --header 'Accept: application/json;as=Table;g=meta.k8s.io;v=v1' \
  "https://127.0.0.1:7443/api/v1/nodes/$node?includeObject=None" | tr -d ' \n')
if ! grep -qE '"cells":\["[^"]*","Ready[",]' <<<"$row"; then
  printf 'node %s is not ready: %s\n' "$node" "$(grep -oE '"cells":\[[^]]*\]' <<<"$row" || true)" >&2
  exit 1
fi
