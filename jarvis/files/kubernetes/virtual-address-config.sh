#!/bin/bash
# Writes keepalived's configuration with the interface that has this server's address.
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/virtual-address
readonly RESULT=${JARVIS_ROOT:-}/run/jarvis-virtual-address/keepalived.conf

address=$(<"$FOLDER/address")
interface=$(ip -o -4 address show to "$address" | awk '{ print $2; exit }')
if [ -z "$interface" ]; then
  printf 'error: %s: no interface has the address %s\n' "$(hostname)" "$address" >&2
  exit 1
fi
sed "s/%INTERFACE%/$interface/" "$FOLDER/keepalived.conf" >"$RESULT.new"
keepalived --config-test --use-file "$RESULT.new"
mv -T "$RESULT.new" "$RESULT"
