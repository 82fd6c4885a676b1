#!/bin/bash
# Prints the metadata of objects of Kubernetes, asked of this server's own API server: one list after the
# other, for each path (such as /apis/apps/v1/deployments) that it is given. Spec and data are not asked for.
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/controllers/controller-manager
readonly API=${JARVIS_API:-https://127.0.0.1:6443}

urls=()
for path in "$@"; do
  urls+=("$API$path")
done
# The controller manager may list everything, and change next to nothing. One connection for all.
exec curl --silent --show-error --fail --fail-early --max-time $((20 * ${JARVIS_PATIENCE_FACTOR:-1})) \
  --header 'Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' \
  --cacert "$FOLDER/ca.crt" --cert "$FOLDER/client.crt" --key "$FOLDER/client.key" "${urls[@]}"
