#!/bin/bash
# Succeeds when ADDRESS PORT accepts TCP connections.
set -euo pipefail

# shellcheck disable=SC2016  # the inner shell expands them
exec timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${1:?address}" "${2:?port}"
