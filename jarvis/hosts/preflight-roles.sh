#!/bin/bash
# Says whether this server can have what its roles need beyond any server, and changes nothing.
#
#   preflight-roles NAME=VALUE...
#
# environment, server: what the configuration calls it. With commas, each where a role asks for it: packages, as
# NAME=SERIES, the beginning of the versions that may be installed; modules of the kernel; udp_ports, which must be free.
#
# It comes after preflight.sh, and on servers of such roles alone. All that is wrong comes as one list on stderr.
set -euo pipefail

readonly ROOT=${JARVIS_ROOT:-}
failures=()
declare -A want=()

fail() { failures+=("$1"); }

check_package() { # name, series
  local has known
  has=$(dpkg-query --show --showformat '${db:Status-Status} ${Version}' "$1" 2>/dev/null || true)
  if [[ $has == "installed "* ]]; then
    [[ ${has#installed } == "$2"* ]] \
      || fail "package: $1 is ${has#installed } here, and a role needs $2* (apt-get install --allow-downgrades '$1=$2*')"
    return 0
  fi
  # Where APT knows nothing at all, not even dpkg, its lists come with the installation.
  [ -n "$(apt-cache madison dpkg 2>/dev/null)" ] || return 0
  known=$(apt-cache madison "$1" 2>/dev/null | awk -F ' *[|] *' '{print $2}')
  while IFS= read -r has; do
    [[ $has != "$2"* ]] || return 0
  done <<<"$known"
  fail "package: a role needs $1 $2*, and APT has $(paste -sd ' ' <<<"${known:-none}") (apt-get update, or \
a repository that has it)"
}

check_modules() {
  local name
  for name in ${want[modules]//,/ }; do
    [ -d "$ROOT/sys/module/$name" ] || modprobe --dry-run --quiet "$name" 2>/dev/null \
      || fail "kernel: $name is missing, which a role needs"
  done
}

check_ports() {
  local port listening lines
  # What runs here is Jarvis' own; whose it is preflight.sh has looked at.
  [ "$(cat "$ROOT/var/lib/jarvis/cluster" 2>/dev/null || true)" != "${want[environment]} ${want[server]}" ] || return 0
  listening=$(ss -Hlunp)
  for port in ${want[udp_ports]//,/ }; do
    lines=$(awk -v port=":$port" 'substr($4, length($4) - length(port) + 1) == port' <<<"$listening")
    [ -z "$lines" ] || fail "port: $port of UDP is in use by $(grep -oE '"[^"]+"' <<<"$lines" | sort -u | paste -sd ' ' || true)"
  done
}

main() {
  local word package failure
  for word in "$@"; do want[${word%%=*}]=${word#*=}; done
  word=${want[packages]:-}
  for package in ${word//,/ }; do check_package "${package%%=*}" "${package#*=}"; done
  [ -z "${want[modules]:-}" ] || check_modules
  [ -z "${want[udp_ports]:-}" ] || check_ports
  if [ ${#failures[@]} -gt 0 ]; then
    echo "error: server ${want[server]} is not fit for its roles; nothing has been changed there:" >&2
    for failure in "${failures[@]}"; do echo "  - $failure" >&2; done
    exit 1
  fi
}

main "$@"
