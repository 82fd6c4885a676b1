#!/bin/bash
# The configuration of this server's proxy to stateful services.
#
#   link accept             the files of /etc/jarvis/link.d become what the proxy reads, if HAProxy takes them
#   link listening PORT...  succeeds when each port is open
set -euo pipefail
umask 077

readonly FOLDER=${JARVIS_ROOT:-}/etc/jarvis/link.d
readonly ACTIVE=${JARVIS_ROOT:-}/var/lib/jarvis/link

die() {
  printf 'error: %s: link: %s\n' "$(hostname)" "$*" >&2
  exit 1
}

accept() {
  local fresh problem
  mkdir -p "$ACTIVE"
  fresh=$(mktemp "$ACTIVE/.haproxy.XXXXXXXX")
  # shellcheck disable=SC2064  # the name is to be expanded now
  trap "rm -f '$fresh'" EXIT
  cat "$FOLDER"/*.cfg >"$fresh"
  problem=$(haproxy -c -q -f "$fresh" 2>&1) \
    || die "HAProxy refuses $FOLDER; the proxy runs on as it was. It says: $problem"
  chmod 0644 "$fresh"
  sync "$fresh"
  mv -T "$fresh" "$ACTIVE/haproxy.cfg"
}

listening() {
  local port
  for port in "$@"; do
    timeout 2 bash -c ": </dev/tcp/127.0.0.1/$port" 2>/dev/null || die "nothing listens on port $port"
  done
}

case ${1:-} in
  accept) accept ;;
  listening) listening "${@:2}" ;;
  *) die "usage: link accept | listening PORT..." ;;
esac
