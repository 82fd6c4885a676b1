#!/bin/bash
# Gives the virtual address of the API to another server before this one's API server stops.
#
#   hand-over leave ADDRESS:PORT    returns when the API answers there from another server
#   hand-over stay                  this server may hold the address again
#
# keepalived sees the flag by inotify (track_file) and says goodbye to the others, of whom one takes the address
# within a second. Without it they would have to miss the API server for some seconds first. The only holder
# keeps the address: nobody would take it.
set -euo pipefail

readonly ROOT=${JARVIS_ROOT:-}
readonly RUN=$ROOT/run/jarvis-virtual-address
# Twice what VRRP needs (RFC 5798, section 6.1) where the goodbye is lost: three advertisements of a second.
readonly PATIENCE=${JARVIS_PATIENCE:-6}

grep -qs unicast_peer "$RUN/keepalived.conf" || exit 0

flag() { # in place: keepalived watches this very file
  printf '%s\n' "$1" >"$RUN/leaving"
}

held() {
  [ -n "$(ip -o -4 address show to "$address")" ]
}

elsewhere() {
  ! held && "$ROOT/var/lib/jarvis/bin/apiserver-ready" "$address:$port" 2>/dev/null
}

case ${1:-} in
  leave)
    address=${2%:*} port=${2##*:}
    if held; then
      flag 1
      deadline=$((SECONDS + PATIENCE))
      until elsewhere; do
        if [ "$SECONDS" -ge "$deadline" ]; then
          printf 'no other server has taken %s within %d s\n' "$address" "$PATIENCE" >&2
          exit 1
        fi
        sleep 0.1
      done
    else
      flag 1
    fi
    ;;
  stay) flag 0 ;;
  *)
    printf 'usage: hand-over leave ADDRESS:PORT | stay\n' >&2
    exit 2
    ;;
esac
