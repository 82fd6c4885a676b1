#!/bin/bash
# Brings the pod network's routes and address translation to what its folder says, or removes them:
#   pod-network up | down
set -euo pipefail

readonly FOLDER=${JARVIS_ROOT:-}/etc/kubernetes/pod-network
# Marks our routes (any number that /etc/iproute2/rt_protos does not name), so that no other is ever removed.
readonly PROTOCOL=178

routes() { # each line: SUBNET via ADDRESS, SUBNET from ADDRESS of this server, or SUBNET here
  local subnet how address known rest interface
  while read -r subnet how address; do
    case $how in
      via) ip route replace "$subnet" via "$address" proto "$PROTOCOL" ;;
      here)
        # After a start there is no other way to these pods until the first one is made. What is sent to those
        # that were here is not to be sent on, and is not refused: HAProxy 2.6 may take a whole processor for
        # a connection that is (https://github.com/haproxy/haproxy/issues/2491).
        ip route replace blackhole "$subnet" metric 4096 proto "$PROTOCOL"
        ;;
      from)
        interface=$(ip -o -4 address show to "$address" | awk '{ print $2; exit }')
        if [ -z "$interface" ]; then
          printf 'error: %s: no interface has the address %s\n' "$(hostname)" "$address" >&2
          exit 1
        fi
        ip route replace "$subnet" dev "$interface" src "$address" proto "$PROTOCOL"
        ;;
    esac
  done <"$FOLDER/routes"
  while read -r known rest; do
    [ "$known" != blackhole ] || known=${rest%% *}
    grep -q "^$known " "$FOLDER/routes" || ip route delete "$known" proto "$PROTOCOL"
  done < <(ip -4 route show proto "$PROTOCOL")
}

case ${1:-} in
  up)
    routes
    nft --file "$FOLDER/rules.nft"
    # Rules and the pods that they are to know take effect together.
    pods=$("${JARVIS_ROOT:-}/var/lib/jarvis/cni/jarvis-access" list "$FOLDER/access.nft")
    nft --file - < <(cat "$FOLDER/access.nft" && printf '%s\n' "$pods")
    ;;
  down)
    ip -4 route flush proto "$PROTOCOL"
    nft delete table ip jarvis-pods 2>/dev/null || true
    nft delete table inet jarvis-access 2>/dev/null || true
    ;;
  *)
    printf 'usage: pod-network up | down\n' >&2
    exit 2
    ;;
esac
