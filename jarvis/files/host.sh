#!/bin/bash
# What a server needs before any role: Debian packages, users, kernel settings, names.
#
#   host setup PACKAGE...     what is missing is installed, what ran already is taken over; files of Jarvis take effect
#   host without-swap         turns swap off, also at the next boot; "remove" lets it come back
#   host packages PACKAGE...  what is missing is installed, and nothing else done
#   host upstream             gives the network interface the DNS servers that the server had at first
#   host remove               undoes what `setup` did outside Jarvis' own files; packages stay
set -euo pipefail
umask 022

readonly ROOT=${JARVIS_ROOT:-}
readonly STATE=$ROOT/var/lib/jarvis
readonly BEGIN="# begin: written by Jarvis, lost at its next change" END="# end: written by Jarvis"
readonly ASIDE="# set aside by Jarvis: "
# shellcheck source=jarvis/files/packaged.sh
. "$(dirname "$0")/packaged.sh"

die() {
  printf 'error: %s: %s\n' "$(hostname)" "$*" >&2
  exit 1
}

# What the role has beyond its own files, for observe.sh to compare with.
made() { # lines
  [ -z "${JARVIS_MADE:-}" ] || printf '%s\n' "$@" >>"$JARVIS_MADE"
}

replace() { # path <content: by rename, or in place where the path is a mount of its own
  local temporary
  temporary=$(mktemp "$1.XXXXXXXX")
  cat >"$temporary"
  chmod 0644 "$temporary"
  sync "$temporary"
  if ! mv -T "$temporary" "$1" 2>/dev/null; then
    cat "$temporary" >"$1"
    rm -f "$temporary"
  fi
}

# What a package started before Jarvis came, and where its data is as the package made it. Written down before the
# service stops: whoever is interrupted then cannot ask it any more.
take_packages() { # names
  local package unit strange mark
  for package in "$@"; do
    mark=$STATE/taking-$package
    if package_owned "$package"; then
      rm -f "$mark"
      continue
    fi
    if [ ! -e "$mark" ]; then
      package_found "$package" || continue
      strange=$(package_strange "$package")
      [ -z "$strange" ] || die "$strange"
      : >"$mark"
      sync "$mark"
    fi
    echo "taking $package over: it is as it was installed"
    for unit in $(package_units "$package"); do
      ! systemctl cat "$unit" >/dev/null 2>&1 || systemctl disable --now --quiet "$unit"
    done
    [ "$package" != rabbitmq-server ] || find "$ROOT/var/lib/rabbitmq/mnesia" -mindepth 1 -delete
    rm -f "$mark"
  done
}

# Services that a package starts as soon as it is installed have a configuration then that is not ours yet.
install_packages() { # names
  local missing=() package unit fresh=() merged=""
  for package in "$@"; do
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] \
      || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing ${missing[*]}"
  case " ${missing[*]} " in *" systemd-resolved "*) save_upstream ;; esac
  for package in "${missing[@]}"; do
    for unit in $(package_units "$package"); do
      systemctl cat "$unit" >/dev/null 2>&1 || fresh+=("$unit")
    done
  done
  # A merged release makes /usr read-only; dpkg needs it back for a moment. What runs keeps running.
  if [ -e "$ROOT/usr/lib/extension-release.d/extension-release.jarvis" ]; then
    merged=yes
    systemd-sysext unmerge
  fi
  [ ${#fresh[@]} -eq 0 ] || systemctl mask --runtime --quiet "${fresh[@]}"
  local apt=(apt-get --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300
    -o Dpkg::Options::=--force-confold) failed=""
  export DEBIAN_FRONTEND=noninteractive
  "${apt[@]}" install "${missing[@]}" || { apt-get --quiet update && "${apt[@]}" install "${missing[@]}"; } || failed=yes
  if [ ${#fresh[@]} -gt 0 ]; then
    systemctl unmask --runtime --quiet "${fresh[@]}"
    for unit in "${fresh[@]}"; do systemctl disable --quiet "$unit" 2>/dev/null || true; done
  fi
  [ -z "$merged" ] || systemd-sysext merge
  [ -z "$failed" ] || die "not all packages could be installed; on the server: apt-get install ${missing[*]}"
}

save_upstream() { # systemd-resolved takes /etc/resolv.conf over, and forgets what stood there
  [ ! -e "$STATE/upstream-dns" ] && [ -r "$ROOT/etc/resolv.conf" ] || return 0
  awk '$1 == "nameserver" && $2 !~ /^127\./ {print $2}' "$ROOT/etc/resolv.conf" | replace "$STATE/upstream-dns"
}

upstream() {
  local servers interface
  mapfile -t servers <"$STATE/upstream-dns"
  [ ${#servers[@]} -gt 0 ] || return 0
  interface=$(ip -o route get "${servers[0]}" | grep -oE ' dev [^ ]+' | cut -d' ' -f3)
  resolvectl dns "$interface" "${servers[@]}"
  # Everything that is not the cluster's goes there, and only there.
  resolvectl domain "$interface" '~.'
}

upstream_unit() {
  local unit=$ROOT/etc/systemd/system/jarvis-upstream-dns.service
  [ -s "$STATE/upstream-dns" ] || return 0
  replace "$unit" <<EOF
[Unit]
Description=DNS servers that this server had before systemd-resolved
After=systemd-resolved.service network-online.target
Wants=network-online.target
PartOf=systemd-resolved.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/var/lib/jarvis/bin/host upstream

[Install]
WantedBy=multi-user.target systemd-resolved.service
EOF
  systemctl daemon-reload
  systemctl enable --now --quiet jarvis-upstream-dns.service
}

# A limit below fs. that is higher already is left as it is. In a container it is the machine's, and read-only:
# a lower one is told then, and no mistake.
set_sysctls() { # file
  local line key value path current
  while IFS= read -r line; do
    case $line in "" | "#"*) continue ;; esac
    key=${line%%=*} value=${line#*=}
    key=${key// /} value=${value# }
    path=$ROOT/proc/sys/${key//.//}
    current=$(tr '\t' ' ' <"$path" 2>/dev/null) || die "sysctl: this kernel has no $key"
    [ "$current" != "$value" ] || continue
    if [[ $key == fs.* ]]; then
      [ "$current" -lt "$value" ] || continue
      if findmnt --noheadings --output OPTIONS --target "$path" | grep -qE '^ro(,|$)'; then
        echo "warning: $(hostname): $key is $current, which this server cannot raise to $value" >&2
        continue
      fi
    fi
    printf '%s\n' "$value" 2>/dev/null >"$path" \
      || die "sysctl: $key is $current and cannot be set to $value (field sysctls of the server)"
  done <"$1"
}

# An installer gives a server's own name to 127.0.1.1, and a stranger's line may give another server's away. Resolvers
# join all lines of a name, or take the first: none but Jarvis' may have one of its names. A line keeps its other
# names, and behind a mark its text, which comes back when Jarvis goes. A line on loopback that has nothing but names
# of this server goes to its address as a whole, so that its full name stays the canonical one.
set_aside() { # lines of Jarvis, own address; hosts(5) on stdin and stdout
  awk -v lines="$1" -v own="$2" -v mark="$ASIDE" '
    BEGIN {
      count = split(lines, line, "\n")
      for (at = 1; at <= count; at++) {
        words = split(line[at], word)
        for (n = 2; n <= words; n++) want[tolower(word[n])] = word[1]
      }
    }
    {
      text = $0
      sub(/#.*/, "", text)
      words = split(text, word)
      clash = mine = shared = 0
      for (n = 2; n <= words; n++) {
        name = tolower(word[n])
        if (name ~ /^(localhost|ip6-)/) shared = 1
        if (!(name in want) || want[name] == word[1]) continue
        clash = 1
        if (want[name] == own) mine = 1
      }
      if (!clash) { print; next }
      whole = mine && !shared && word[1] ~ /^(127\.|::1$)/
      kept = ""
      for (n = 2; n <= words; n++) {
        name = tolower(word[n])
        if (!(name in want) || want[name] == (whole ? own : word[1])) kept = kept " " word[n]
      }
      if (kept != "") kept = (whole ? own : word[1]) kept " "
      print kept mark $0
    }'
}

hosts_block() { # file with the lines, or none: the block in /etc/hosts is replaced, other lines are kept
  local old new lines="" own="" address name
  old=$(cat "$ROOT/etc/hosts" 2>/dev/null || true)
  new=$(awk -v begin="$BEGIN" -v end="$END" -v mark="$ASIDE" '
    $0 == begin {inside = 1}
    !inside {at = index($0, mark); print at ? substr($0, at + length(mark)) : $0}
    $0 == end {inside = 0}' <<<"$old")
  if [ -n "${1:-}" ]; then
    lines=$(cat "$1")
    # The server's name in the configuration, and what the system calls itself where that is another.
    read -r _ own _ <"$STATE/cluster"
    address=$(awk -v own="$own" '$2 == own {print $1; exit}' <<<"$lines")
    [ -n "$address" ] || die "$1 has no line of this server, $own"
    for name in "$(hostname)" "$(hostname --short)"; do
      awk -v name="$name" '{for (n = 2; n <= NF; n++) if ($n == name) found = 1} END {exit !found}' <<<"$lines" \
        || lines+=$'\n'"$address $name"
    done
    new=$(set_aside "$lines" "$address" <<<"$new")$'\n'$BEGIN$'\n'$lines$'\n'$END
  fi
  [ "$old" = "$new" ] || replace "$ROOT/etc/hosts" <<<"$new"
}

own_name() { # whoever asks for this server's name comes to its address, and nowhere else
  local own address found
  read -r _ own _ <"$STATE/cluster"
  address=$(awk -v own="$own" '$2 == own {print $1; exit}' "$STATE/hosts")
  found=$(getent ahostsv4 "$own" | awk '{print $1}' | sort -u | paste -sd ' ' || true)
  [ "$found" = "$address" ] \
    || die "its own name $own leads to ${found:-nothing}, not to $address alone (getent ahostsv4 $own; the line hosts of /etc/nsswitch.conf must begin with files)"
}

# The kubelet does not start beside swap, and a Secret in the memory of a pod could reach a disk by it. Only what systemd
# turned on goes: in a container swap is the machine's beneath, and systemd knows of none.
without_swap() {
  local left
  [ "$(systemctl is-enabled swap.target 2>/dev/null || true)" = masked ] || : >"$STATE/swap-masked"
  systemctl mask --quiet swap.target
  made "masked swap.target"
  for left in $(systemctl list-units --type=swap --state=active --plain --no-legend | awk '{print $1}'); do
    systemctl stop "$left" || die "$left cannot be turned off: is there memory enough for what is in it?"
  done
}

# Or when the file was written after the unit's last start: somebody may have started it with another one.
restart_changed() { # unit file: only when the file is not the one that it was restarted for
  local mark=$STATE/restarted-$1 digest started
  digest=$(sha256sum <"$2")
  if [ "$(cat "$mark" 2>/dev/null || true)" = "$digest" ]; then
    started=$(systemctl show --timestamp=unix --property ActiveEnterTimestamp --value "$1" 2>/dev/null || true)
    [[ $started = @* ]] && [ "$(stat --format %Z "$2")" -gt "${started#@}" ] || return 0
  fi
  systemctl restart "$1"
  replace "$mark" <<<"$digest"
}

# Not written there by the role itself: a file that sshd refuses would keep it from its next start.
ssh_server() {
  local file=$ROOT/etc/ssh/sshd_config.d/90-jarvis.conf problem
  if cmp -s "$STATE/sshd.conf" "$file"; then
    chmod 0644 "$file"
    chown root:root "$file"
    return 0
  fi
  mkdir -p "$(dirname "$file")"
  replace "$file" <"$STATE/sshd.conf"
  if ! problem=$(sshd -t 2>&1); then
    rm -f "$file"
    die "sshd refuses what Jarvis wants of it, and goes on as before: $problem"
  fi
  systemctl try-reload-or-restart ssh.service
}

setup() {
  take_packages "$@"
  install_packages "$@"
  systemd-sysusers "$ROOT/etc/sysusers.d/jarvis.conf"
  grep -vE '^(#|$)' "$ROOT/etc/modules-load.d/jarvis.conf" | while IFS= read -r name; do
    modprobe --quiet "$name" 2>/dev/null || true # built in, or missed by the settings below
  done
  set_sysctls "$ROOT/etc/sysctl.d/90-jarvis.conf"
  hosts_block "$STATE/hosts"
  own_name
  reclaim systemd-resolved.service
  systemctl enable --now --quiet systemd-resolved.service
  restart_changed systemd-resolved.service "$ROOT/etc/systemd/resolved.conf.d/90-jarvis.conf"
  restart_changed systemd-journald.service "$ROOT/etc/systemd/journald.conf.d/90-jarvis.conf"
  upstream_unit
  ssh_server
  record "$@"
}

reclaim() { # unit: no longer masked
  case $(systemctl is-enabled "$1" 2>/dev/null || true) in
    masked*)
      systemctl unmask --quiet "$1"
      systemctl unmask --runtime --quiet "$1"
      ;;
  esac
}

record() { # packages
  local package name file=/etc/ssh/sshd_config.d/90-jarvis.conf
  for package in "$@"; do made "package $package"; done
  grep -vE '^(#|$)' "$ROOT/etc/modules-load.d/jarvis.conf" | while IFS= read -r name; do
    [ ! -d "$ROOT/sys/module/$name" ] || made "module $name"
  done
  made "sysctls /etc/sysctl.d/90-jarvis.conf" "hosts /var/lib/jarvis/hosts" \
    "file 0644 root:root $(sha256sum <"$ROOT$file" | cut -d' ' -f1) $file" \
    "unit systemd-resolved.service"
  [ ! -s "$STATE/upstream-dns" ] || made "unit jarvis-upstream-dns.service"
}

remove() {
  rm -f "$ROOT/etc/ssh/sshd_config.d/90-jarvis.conf"
  systemctl try-reload-or-restart ssh.service || true
  hosts_block
  if [ -e "$STATE/swap-masked" ]; then
    systemctl unmask --quiet swap.target
    systemctl daemon-reload
    systemctl start swap.target || true
  fi
  rm -f "$ROOT/etc/systemd/resolved.conf.d/90-jarvis.conf" "$ROOT/etc/systemd/journald.conf.d/90-jarvis.conf"
  if [ -s "$STATE/upstream-dns" ]; then
    systemctl disable --now --quiet jarvis-upstream-dns.service || true
    rm -f "$ROOT/etc/systemd/system/jarvis-upstream-dns.service"
    mkdir -p "$ROOT/etc/systemd/resolved.conf.d"
    { echo "[Resolve]" && echo "DNS=$(paste -sd ' ' "$STATE/upstream-dns")"; } \
      | replace "$ROOT/etc/systemd/resolved.conf.d/upstream.conf"
  fi
  systemctl restart systemd-resolved.service systemd-journald.service
  awk '$1 == "u" {print $2}' "$ROOT/etc/sysusers.d/jarvis.conf" | while IFS= read -r name; do
    userdel "$name" || true # a process or a file of it that is left keeps nothing else from going
  done
}

case ${1:-} in
  setup) setup "${@:2}" ;;
  packages) install_packages "${@:2}" ;;
  without-swap) without_swap ;;
  upstream) upstream ;;
  remove) remove ;;
  hosts) hosts_block "${2:-}" ;;
  sysctls) set_sysctls "${2:?a file}" ;;
  *) die "usage: host setup PACKAGE... | without-swap | packages PACKAGE... | upstream | remove" ;;
esac
