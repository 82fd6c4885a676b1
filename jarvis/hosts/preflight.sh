#!/bin/bash
# Says whether this server can be taken into an environment, and changes nothing.
#
#   preflight NAME=VALUE...
#
# Its text follows that of packaged.sh. packages: Debian's, with commas, that the server will have.
# environment, server, address: what the configuration calls it. min_cores, min_memory_mib, min_disk_gib.
# time_sync: yes where a time service must be at work. not_before: a time (seconds since 1970) that has passed,
# max_skew: by how many seconds the clock may be behind it. patience: by how much to wait longer than usual. ports: TCP ports, with commas, that must be free.
#
# deployment: the id of the one whose state runs this. take_over: the id of another one that may have this server.
# known: yes where the state knew this server before; of one that has a name and no id yet, it is the deployment.
#
# interface: the name of the network interface that has the address, where the configuration says it. memory_fields:
# the fields, with commas, that min_memory_mib follows from, where it is not preflight's own.
#
# osd_device, or osd_file and osd_gib: where the storage is to keep its share; nothing of somebody else's.
#
# All that is wrong comes as one list on stderr. Otherwise stdout has what only all servers together can tell.
set -euo pipefail

readonly ROOT=${JARVIS_ROOT:-}
failures=()
declare -A want=()

fail() { failures+=("$1"); }

module() { # name: it is at work, or can be loaded
  [ -d "$ROOT/sys/module/$1" ] || modprobe --dry-run --quiet "$1" 2>/dev/null
}

check_system() {
  local id="" version="" pretty=""
  if [ "$(id -u)" != 0 ]; then
    fail "user: $(id -un) is not root (field user of the server)"
  fi
  if [ -r "$ROOT/etc/os-release" ]; then
    # shellcheck disable=SC1091  # a file of the server
    read -r id version pretty <<<"$(. "$ROOT/etc/os-release" && echo "${ID:-} ${VERSION_ID:-0} ${PRETTY_NAME:-}")"
  fi
  if [ "$id" != debian ] || [ "${version%%.*}" -lt 12 ]; then
    fail "operating system: ${pretty:-unknown}; Debian 12 or later is needed"
  fi
  [ "$(uname -m)" = x86_64 ] || fail "architecture: $(uname -m); x86_64 is needed"
  [ -d "$ROOT/run/systemd/system" ] || fail "init: systemd is not running as PID 1"
  command -v systemd-sysext >/dev/null || fail "systemd-sysext: missing (apt-get install systemd)"
}

memory_mib() { # what the kernel has, or what a cgroup allows if that is less
  local total limit file
  total=$(($(awk '/^MemTotal:/ {print $2}' "$ROOT/proc/meminfo") / 1024))
  for file in "$ROOT/sys/fs/cgroup/memory.max" "$ROOT/sys/fs/cgroup/memory/memory.limit_in_bytes"; do
    limit=$(cat "$file" 2>/dev/null || true)
    if [[ $limit =~ ^[0-9]{1,15}$ ]] && [ $((limit / 1048576)) -lt "$total" ]; then total=$((limit / 1048576)); fi
  done
  echo "$total"
}

check_size() {
  local cores memory disk least=${want[min_disk_gib]}
  cores=$(nproc)
  memory=$(memory_mib)
  disk=$(df --output=avail --block-size=1M "$ROOT/var" | tail -n 1 | tr -d ' ')
  [ "$cores" -ge "${want[min_cores]}" ] \
    || fail "cores: $cores; ${want[min_cores]} are needed (preflight.min_cores)"
  [ "$memory" -ge "${want[min_memory_mib]}" ] \
    || fail "memory: $memory MiB; ${want[min_memory_mib]} are needed (${want[memory_fields]:-preflight.min_memory_mib})"
  # On a server that Jarvis runs already, what is used is used by what was asked for.
  [ "$ours" = no ] || least=1
  [ "$disk" -ge $((least * 1024)) ] \
    || fail "disk: $disk MiB free below /var; $least GiB are needed (preflight.min_disk_gib)"
}

check_kernel() {
  local missing=() name
  for name in overlay squashfs; do
    grep -qw "$name" "$ROOT/proc/filesystems" || module "$name" || missing+=("$name")
  done
  [ -e "$ROOT/dev/loop-control" ] || module loop || missing+=(loop)
  [ -e "$ROOT/dev/net/tun" ] || module tun || missing+=(tun)
  nft list tables >/dev/null 2>&1 || module nf_tables || missing+=(nf_tables)
  module bridge || missing+=(bridge)
  [ -e "$ROOT/proc/sys/net/bridge/bridge-nf-call-iptables" ] || module br_netfilter || missing+=(br_netfilter)
  [ -e "$ROOT/proc/sys/net/netfilter/nf_conntrack_max" ] || module nf_conntrack || missing+=(nf_conntrack)
  grep -q '^Seccomp_filters:' "$ROOT/proc/self/status" || missing+=("seccomp filters")
  for name in cgroup ipc mnt net pid uts; do
    [ -e "$ROOT/proc/self/ns/$name" ] || missing+=("$name namespaces")
  done
  for name in cpu cpuset memory pids; do
    if [ -r "$ROOT/sys/fs/cgroup/cgroup.controllers" ]; then
      grep -qw "$name" "$ROOT/sys/fs/cgroup/cgroup.controllers" || missing+=("cgroup controller $name")
    else
      awk -v name="$name" '$1 == name && $4 == 1 {found = 1} END {exit !found}' "$ROOT/proc/cgroups" \
        || missing+=("cgroup controller $name")
    fi
  done
  for name in "${missing[@]}"; do fail "kernel: $name is missing"; done
}

check_time() {
  local behind
  behind=$((want[not_before] - $(date +%s)))
  if [ "$behind" -gt "${want[max_skew]}" ]; then
    fail "time: the clock is ${behind} s behind that of the operator's machine (preflight.max_clock_skew_seconds)"
  fi
  if [ "${want[time_sync]}" = yes ] && [ "$(timedatectl show --property NTPSynchronized --value 2>/dev/null)" != yes ]
  then
    fail "time: no time service is at work (apt-get install chrony, or preflight.require_time_sync: false)"
  fi
}

check_interface() {
  local there addresses
  if ! addresses=$(ip -o -4 address show dev "${want[interface]}" 2>/dev/null | awk '{sub("/.*", "", $4); print $4}'); then
    there=$(ip -o link show | awk -F ': ' '{sub("@.*", "", $2); print $2}' | paste -sd ' ')
    fail "interface: there is no ${want[interface]}; there are $there (field interface of the server)"
  elif ! grep -qxF "${want[address]}" <<<"$addresses"; then
    fail "interface: ${want[interface]} does not have ${want[address]} (field interface of the server: leave it empty)"
  fi
}

check_identity() {
  local id addresses
  id=$(cat "$ROOT/etc/machine-id" 2>/dev/null || true)
  [[ $id =~ ^[0-9a-f]{32}$ ]] || fail "machine-id: /etc/machine-id has none (systemd-machine-id-setup)"
  addresses=$(ip -o -4 address show | awk '{sub("/.*", "", $4); print $4}')
  grep -qxF "${want[address]}" <<<"$addresses" \
    || fail "address: no interface has ${want[address]} (field address of the server)"
  [ -z "${want[interface]:-}" ] || check_interface
}

# cloud-init may write /etc/hosts anew at each boot, without the names that Jarvis puts there. What came with the
# instance goes before the files of the system, of which the last one counts.
check_names() {
  local file value="" where=""
  [ -d "$ROOT/etc/cloud" ] && [ ! -e "$ROOT/etc/cloud/cloud-init.disabled" ] || return 0
  for file in "$ROOT/etc/cloud/cloud.cfg" "$ROOT"/etc/cloud/cloud.cfg.d/*.cfg \
    "$ROOT/var/lib/cloud/instance/cloud-config.txt"; do
    grep -qsE '^manage_etc_hosts:' "$file" || continue
    value=$(sed -nE 's/^manage_etc_hosts: *"?([A-Za-z]*).*/\1/p' "$file" | tail -n 1) where=${file#"$ROOT"}
  done
  case ${value,,} in
    "" | false | no | off) ;;
    *) fail "hosts: cloud-init writes /etc/hosts anew at each boot (manage_etc_hosts: false in $where, or: touch /etc/cloud/cloud-init.disabled)" ;;
  esac
}

# What turns swap on by itself at each boot is not systemd's, and no use to the kubelet.
check_swap() {
  local name
  [ -n "$(awk '$1 ~ "^/dev/zram"' "$ROOT/proc/swaps" 2>/dev/null || true)" ] || return 0
  for name in $(systemctl list-unit-files --state=enabled --plain --no-legend 'zram*' 2>/dev/null | awk '{print $1}'); do
    fail "swap: $name turns it on at each boot (systemctl disable --now $name)"
  done
}

check_membership() {
  local mark path
  mark=$(cat "$ROOT/var/lib/jarvis/cluster" 2>/dev/null || true)
  if [ -n "$mark" ]; then
    if [ "$mark" = "${want[environment]} ${want[server]}" ]; then
      check_deployment
    else
      fail "cluster: this is server '${mark#* }' of the environment '${mark%% *}' (pulumi destroy of that one first)"
    fi
    return 0
  fi
  for path in /var/lib/etcd/member /etc/kubernetes/kubelet.conf /etc/kubernetes/manifests /var/lib/kubelet/config.yaml \
    /var/lib/rancher /var/lib/k0s; do
    [ ! -e "$ROOT$path" ] || fail "cluster: $path is there: the server is, or was, a member of another cluster"
  done
}

# Services that run before Jarvis came, and are taken over, or told of.
check_packages() {
  local package strange packages=${want[packages]:-}
  for package in ${packages//,/ }; do
    # One that a run before this began to take over.
    [ ! -e "$ROOT/var/lib/jarvis/taking-$package" ] || continue
    package_found "$package" || continue
    strange=$(package_strange "$package")
    [ -z "$strange" ] || fail "$strange"
    known+=" $(package_units "$package")"
  done
}

check_deployment() { # the name is the environment's: is the state that deployed it the one that asks?
  local id
  id=$(cat "$ROOT/var/lib/jarvis/deployment" 2>/dev/null || true)
  # Servers of before there were ids have none. Whoever took one in then has its commands in the state.
  [ -n "$id" ] || [ "${want[known]:-}" != yes ] || id=${want[deployment]}
  [ -n "$id" ] || id=unnamed-$(cut -c 1-12 "$ROOT/etc/machine-id" 2>/dev/null || true)
  case $id in
    "${want[deployment]}" | "${want[take_over]:-none}") ours=yes ;;
    *)
      fail "deployment: another state deployed this server, with other keys: its id is $id, this state's is \
${want[deployment]} (restore that state; or pulumi destroy with it; or take_over: $id of the server, where this state \
has its keys)"
      ;;
  esac
}

check_ports() {
  local port listening lines unit pid
  [ "$ours" = no ] || return 0
  listening=$(ss -Hltnp)
  for port in ${want[ports]//,/ }; do
    lines=$(awk -v port=":$port" 'substr($4, length($4) - length(port) + 1) == port' <<<"$listening")
    [ -n "$lines" ] || continue
    pid=$(grep -oE 'pid=[0-9]+' <<<"$lines" | head -n 1 | cut -d= -f2 || true)
    unit=$(sed -nE 's#.*/([^/]+\.(service|socket))$#\1#p' "$ROOT/proc/${pid:-none}/cgroup" 2>/dev/null | head -n 1 || true)
    [[ " $known " != *" ${unit:-none} "* ]] || continue
    fail "port: $port is in use by $(grep -oE '"[^"]+"' <<<"$lines" | sort -u | paste -sd ' ' || true)${unit:+ (systemctl disable --now $unit)}"
  done
}

own_osd() { # the server has an osd: the disk that the configuration names is the one that it is on
  local store=$ROOT/var/lib/ceph/osd/jarvis path made label free has
  path=${want[osd_device]:-${want[osd_file]:-}}
  made=$(cat "$store/disk" 2>/dev/null || readlink "$store/block" || true)
  [ -n "$made" ] || return 0
  label=$(head -c 59 "$ROOT$path" 2>/dev/null | tr -d '\0' | sed -n 2p || true)
  if [ "$label" != "$(cat "$store/fsid")" ] && [ "$(readlink -f "$ROOT$path")" != "$(readlink -f "$ROOT$made")" ]; then
    fail "osd: it is on $made, and not on $path (field osd of the server: set it back; or, on the server, \
/var/lib/jarvis/bin/ceph-member osd retire, and then pulumi up)"
  elif [ -n "${want[osd_file]:-}" ] && [ -f "$ROOT$path" ]; then
    has=$(($(stat --format %s "$ROOT$path") / 1073741824))
    free=$(df --output=avail --block-size=1M "$ROOT/var" | tail -n 1 | tr -d ' ')
    if [ "${want[osd_gib]}" -lt "$has" ]; then
      fail "osd: $path has $has GiB, and no osd shrinks to ${want[osd_gib]} (field osd.size_gib of the server)"
    elif [ "$free" -lt $(((want[osd_gib] - has) * 1024)) ]; then
      fail "osd: $free MiB free below /var; $((want[osd_gib] - has)) GiB more are asked for (field osd.size_gib of the server)"
    fi
  fi
}

check_osd() {
  local path=${want[osd_device]:-} found free
  if [ -e "$ROOT/var/lib/ceph/osd/jarvis/mkfs_done" ]; then
    own_osd
    return 0
  fi
  # One that was begun lies on what is its own; `osd make` looks whether that is another disk by now.
  [ ! -e "$ROOT/var/lib/ceph/osd/jarvis/fsid" ] || return 0
  if [ -n "$path" ]; then
    if [ ! -b "$ROOT$path" ]; then
      fail "osd: $path is not a block device (field osd.device of the server)"
    elif ! found=$(lsblk --noheadings --output TYPE,FSTYPE,MOUNTPOINT "$ROOT$path" 2>&1); then
      fail "osd: $path cannot be looked at: $found"
    elif [ "$(wc -l <<<"$found")" -gt 1 ] || [ "$(wc -w <<<"$found")" -gt 1 ]; then
      fail "osd: $path is in use: $(tr -s ' \n' ' ' <<<"$found")(another osd.device; or, to lose what is there: wipefs --all $path)"
    fi
  elif [ -n "${want[osd_file]:-}" ]; then
    path=${want[osd_file]}
    free=$(df --output=avail --block-size=1M "$ROOT/var" | tail -n 1 | tr -d ' ')
    if [ -e "$ROOT$path" ]; then
      fail "osd: $path is there, and no osd's of this server (another osd.path; or, to lose what is there: rm $path)"
    elif [ "$free" -lt $((want[osd_gib] * 1024)) ]; then
      fail "osd: $free MiB free below /var; ${want[osd_gib]} GiB are asked for (field osd.size_gib of the server)"
    fi
  fi
}

main() {
  local word ours=no known="" failure
  for word in "$@"; do want[${word%%=*}]=${word#*=}; done
  export JARVIS_PATIENCE_FACTOR=${want[patience]:-1}
  check_system
  check_membership
  check_size
  check_kernel
  check_time
  check_identity
  check_names
  [[ " ${want[ports]//,/ } " != *" 10250 "* ]] || check_swap
  check_packages
  check_ports
  check_osd
  if [ ${#failures[@]} -gt 0 ]; then
    echo "error: server ${want[server]} is not fit; nothing has been changed there:" >&2
    for failure in "${failures[@]}"; do echo "  - $failure" >&2; done
    exit 1
  fi
  printf 'machine-id %s\nhostname %s\ntime %s\n' "$(cat "$ROOT/etc/machine-id")" "$(hostname)" "$(date +%s)"
}

main "$@"
