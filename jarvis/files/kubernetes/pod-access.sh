#!/bin/bash
# Which namespace's pod has which address on this server, as the rules for pods (access.nft) want to know it.
#
# As a CNI plugin, behind those that give the address: it keeps the sets of nftables up to date and passes on the
# result unchanged (https://www.cni.dev/docs/spec/). A set has the name of its namespace; others are not noted.
#   pod-access list RULES   nftables' commands that note the pods that are there already
set -euo pipefail

readonly FAMILY=inet TABLE=jarvis-access
readonly LEASES=${JARVIS_ROOT:-}/run/cni/networks/jarvis
readonly LOCK=${JARVIS_ROOT:-}/run/jarvis-access.lock

sets() { nft list sets "$FAMILY" 2>/dev/null | awk -v table="$TABLE" '$1 == "table" {ours = $3 == table} $1 == "set" && ours {print $2}'; }

holder() { tr -d '\r' <"$LEASES/$1" 2>/dev/null | head -n 1; } # address: its sandbox, or nothing

forget() { # address
  local set
  for set in $(sets); do nft delete element "$FAMILY" "$TABLE" "$set" "{ $1 }" 2>/dev/null || true; done
}

note() { # address namespace
  forget "$1"
  ! sets | grep -qxF -- "$2" || nft add element "$FAMILY" "$TABLE" "$2" "{ $1 }"
}

address() { jq --raw-output '.prevResult.ips[0].address // "" | sub("/.*"; "")' <<<"$1"; }

list() {
  local lease sandbox namespace deadline=$((SECONDS + 60))
  for lease in "$LEASES"/*.*.*.*; do
    [ -f "$lease" ] || continue
    until ctr --connect-timeout 2s version >/dev/null 2>&1; do
      [ "$SECONDS" -lt "$deadline" ] || { echo "error: $(hostname): containerd does not say whose the pods are" >&2 && exit 1; }
      sleep 0.3
    done
    sandbox=$(holder "$(basename "$lease")")
    namespace=$(ctr --namespace k8s.io containers info "$sandbox" 2>/dev/null \
      | jq --raw-output '.Labels["io.kubernetes.pod.namespace"] // ""' || true)
    ! grep -qE "^add set $FAMILY $TABLE $namespace " "$1" \
      || echo "add element $FAMILY $TABLE $namespace { $(basename "$lease") }"
  done
}

alone() { exec 9>"$LOCK" && flock 9; }

plugin() {
  local config namespace found holder
  config=$(cat)
  case $CNI_COMMAND in
    VERSION) echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}' ;;
    ADD)
      alone
      namespace=${CNI_ARGS##*K8S_POD_NAMESPACE=}
      note "$(address "$config")" "${namespace%%;*}"
      jq --compact-output '.prevResult' <<<"$config"
      ;;
    DEL)
      alone
      found=$(address "$config")
      # After a loss of power leases begin anew, and kubelet ends the sandboxes of before minutes later: their
      # addresses are other pods' by then.
      holder=$(holder "$found" || true)
      [ -z "$found" ] || [ "${holder:-$CNI_CONTAINERID}" != "$CNI_CONTAINERID" ] || forget "$found"
      ;;
  esac
}

if [ "${1:-}" = list ]; then list "${2:?the rules}"; else plugin; fi
