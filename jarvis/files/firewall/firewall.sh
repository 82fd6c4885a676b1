#!/bin/bash
# The rules for who may speak to this server.
#
#   firewall check [NETWORK,...]  whether nftables takes the rules, and SSH stays open to whoever is connected now:
#                                 NETWORKs are those that SSH is open to, none for all
#   firewall up                   the rules take effect, all at once; other tables are not touched
#   firewall keep                 they take effect again where others are at work, such as one that somebody added
#   firewall down                 they are gone
set -euo pipefail

readonly RULES=${JARVIS_ROOT:-}/etc/jarvis/firewall.nft

die() {
  printf 'error: %s: firewall: %s\n' "$(hostname)" "$*" >&2
  exit 1
}

inside() { # address networks: whether one of the networks has the address
  local table=jarvis-check found=yes
  nft -f - <<EOF
add table ip $table
delete table ip $table
add table ip $table
add set ip $table operators { type ipv4_addr; flags interval; auto-merge; }
add element ip $table operators { $2 }
EOF
  nft get element ip "$table" operators "{ $1 }" >/dev/null 2>&1 || found=no
  nft delete table ip "$table"
  [ "$found" = yes ]
}

check() { # networks
  local client=${SSH_CONNECTION:-}
  nft --check --file "$RULES" || die "nftables refuses $RULES; nothing was changed"
  client=${client%% *}
  [ -n "${1:-}" ] && [ -n "$client" ] || return 0
  inside "${client#::ffff:}" "$1" \
    || die "this connection comes from $client, which firewall.operators ($1) would lock out; add its network"
}

# As nftables itself writes them, without counters and what its dynamic sets have learned: of what is at work here, and
# of the file in a network of its own, which is gone with the command.
at_work() { nft --stateless --terse list table inet jarvis 2>/dev/null; }
wanted() {
  # shellcheck disable=SC2016  # for the other shell
  unshare --net -- bash -c 'nft --file "$1" && nft --stateless --terse list table inet jarvis' bash "$RULES" 2>/dev/null
}

keep() {
  local text
  # Where no such network can be made nothing is compared, now and later.
  text=$(wanted) || return 0
  if [ "$(at_work || true)" != "$text" ]; then
    nft --file "$RULES"
    echo "the rules of $RULES are at work again" >&2
  fi
  [ -z "${JARVIS_MADE:-}" ] || echo "nft inet jarvis ${RULES#"${JARVIS_ROOT:-}"}" >>"$JARVIS_MADE"
}

case ${1:-} in
  check) check "${2:-}" ;;
  up) nft --file "$RULES" ;;
  keep) keep ;;
  down) nft delete table inet jarvis 2>/dev/null || true ;;
  *) die "usage: firewall check [NETWORK,...] | up | keep | down" ;;
esac
