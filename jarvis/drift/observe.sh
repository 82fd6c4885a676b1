#!/bin/bash
# Says what on this server is another than what was deployed, as one JSON document, and changes nothing.
#
#   observe
#
# {"roles": {"kubelet": ["kubelet.service: stopped 2026-11-23 13:10 UTC"], "etcd": []}}: each role that is there, and a
# sentence for each thing. It has names, and never what a file contains.
#
# apply.sh writes down what a role is made of (roles/ROLE/made), and its commands add to that (JARVIS_MADE):
#   file MODE OWNER:GROUP SHA256 PATH | dir MODE OWNER:GROUP PATH | data MODE OWNER:GROUP PATH | unit NAME | input VALUE
#   interrupted | package NAME | module NAME | sysctls PATH | hosts PATH | masked UNIT | release SHA256 | nft FAMILY TABLE PATH
# Of a role that was applied before there was such a list only its paths and units are known.
#
# It runs in every preview, so each question is one process for all roles. It is sent with each call, and so asks the
# same of every server, whatever was deployed there.
set -euo pipefail
export LC_ALL=C

readonly ROOT=${JARVIS_ROOT:-}
readonly ROLES=${JARVIS_BASE:-$ROOT/var/lib/jarvis}/roles
readonly APPLY=/var/lib/jarvis/bin/apply SCRIPTS=/var/lib/jarvis-scripts
readonly BEGIN="# begin: written by Jarvis, lost at its next change" END="# end: written by Jarvis"

declare -A found=() digests=() about=() unit_facts=() installed=() edited=()
roles=() paths=() regular=() all_units=() packages=()
switched="" # since when another release is merged

fail() { # role sentence
  # A text of JSON, of what can be printed.
  local text=${2//[^ -~]/?}
  text=${text//\\/\\\\}
  found[$1]+=${found[$1]:+,}\"${text//\"/\\\"}\"
}

at() { TZ=UTC printf '%(%Y-%m-%d %H:%M UTC)T' "$1"; }

made() { # files: the lines of all lists, each with its role before it
  awk '
    {parts = split(FILENAME, part, "/"); list = part[parts]; role = part[parts - 1]}
    list == "made" {print role, $0}
    list == "files" {print role, "path", $0}
    list == "units" && $0 != "" {print role, "unit", $0}' "$@"
}

gather() { # all that is asked about, into one list of each kind
  local role kind first second third fourth line
  while IFS= read -r line; do
    read -r role kind first second third fourth <<<"$line"
    case $kind in
      file) paths+=("$ROOT$fourth") regular+=("$ROOT$fourth") ;;
      dir | data) paths+=("$ROOT$third") ;;
      path) paths+=("$ROOT$first") ;;
      unit | masked) all_units+=("$first") ;;
      package) packages+=("$first") ;;
    esac
  done <<<"$lines"
  [ ! -e "$ROOT$SCRIPTS/apply.sh" ] || regular+=("$ROOT$APPLY" "$ROOT$SCRIPTS/apply.sh") paths+=("$ROOT$APPLY")
}

ask() {
  local path digest line facts at=0 name status
  if [ ${#paths[@]} -gt 0 ]; then
    while IFS='|' read -r facts path; do about[$path]=$facts; done \
      < <(stat --format '0%a %U:%G %Z %F|%n' -- "${paths[@]}" 2>/dev/null)
  fi
  if [ ${#regular[@]} -gt 0 ]; then
    while read -r digest path; do digests[$path]=$digest; done < <(sha256sum -- "${regular[@]}" 2>/dev/null)
  fi
  if [ ${#all_units[@]} -gt 0 ]; then
    while IFS= read -r line; do
      if [ -z "$line" ]; then
        at=$((at + 1))
      else
        unit_facts[${all_units[at]:-} ${line%%=*}]=${line#*=}
      fi
    done < <(systemctl show --timestamp=unix \
      --property ActiveState,UnitFileState,InactiveEnterTimestamp,StateChangeTimestamp "${all_units[@]}")
    if [ ${#unit_facts[@]} -eq 0 ]; then
      echo "error: $(hostname): systemd does not answer (systemctl status)" >&2
      exit 1
    fi
  fi
  if [ ${#packages[@]} -gt 0 ]; then
    while read -r name status; do installed[$name]=$status; done \
      < <(dpkg-query --show --showformat '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null)
  fi
}

rights() { # path mode owner: adds what is wrong with them to `wrong`
  local mode owner
  read -r mode owner _ <<<"${about[$ROOT$1]}"
  [ "$mode" = "$2" ] || wrong+=", mode $mode and not $2"
  [ "$owner" = "$3" ] || wrong+=", owner $owner and not $3"
}

check_file() { # role mode owner digest path
  local facts=${about[$ROOT$5]:-} since kind wrong=""
  if [ -z "$facts" ]; then
    fail "$1" "$5: removed"
    edited[$5]=yes
    return 0
  fi
  read -r _ _ since kind <<<"$facts"
  if [[ $kind != regular* ]]; then
    fail "$1" "$5: a $kind since $(at "$since"), and no file"
    edited[$5]=yes
    return 0
  fi
  if [ "${digests[$ROOT$5]:-}" != "$4" ]; then
    wrong=", edited $(at "$since")"
    edited[$5]=yes
  fi
  rights "$5" "$2" "$3"
  [ -z "$wrong" ] || fail "$1" "$5: ${wrong#, }"
}

check_folder() { # role mode owner path
  local wrong="" kind
  read -r _ _ _ kind <<<"${about[$ROOT$4]:-}"
  if [ "$kind" != directory ]; then
    fail "$1" "$4: ${kind:+a $kind, and no folder}${kind:-removed}"
    return 0
  fi
  rights "$4" "$2" "$3"
  [ -z "$wrong" ] || fail "$1" "$4: ${wrong#, }"
}

since() { # unit fact: the time with a blank before it, where there is one
  local time=${unit_facts[$1 $2]:-}
  [[ $time != @* ]] || printf ' %s' "$(at "${time#@}")"
}

check_unit() { # role unit; one that is about to start, or is tried again and again, is systemd's affair
  local wrong=""
  case ${unit_facts[$2 ActiveState]:-} in
    failed) wrong+=", failed$(since "$2" InactiveEnterTimestamp)" ;;
    inactive) wrong+=", stopped$(since "$2" InactiveEnterTimestamp)" ;;
  esac
  case ${unit_facts[$2 UnitFileState]:-} in
    masked*) wrong+=", masked" ;;
    disabled) wrong+=", disabled" ;;
  esac
  [ -z "$wrong" ] || fail "$1" "$2: ${wrong#, }"
}

check_sysctls() { # role path; as host.sh sets them
  local line key value current file
  while IFS= read -r line; do
    case $line in "" | "#"*) continue ;; esac
    key=${line%%=*} value=${line#*=}
    key=${key// /} value=${value# }
    file=$ROOT/proc/sys/${key//.//}
    current=""
    [ ! -r "$file" ] || read -r -d '' current <"$file" || true
    current=${current//$'\t'/ }
    current=${current%$'\n'}
    [ "$current" != "$value" ] || continue
    if [[ $key == fs.* && $current =~ ^[0-9]+$ ]]; then
      [ "$current" -lt "$value" ] || continue
      # A limit of the machine beneath, which this server cannot raise.
      ! findmnt --noheadings --output OPTIONS --target "$file" | grep -qE '^ro(,|$)' || continue
    fi
    fail "$1" "$key is ${current:-not there}, not $value"
  done <"$ROOT$2"
}

check_hosts() { # role path
  local line block
  block=$(awk -v begin="$BEGIN" -v end="$END" '$0 == begin {inside = 1} inside {print} $0 == end {inside = 0}' \
    "$ROOT/etc/hosts" 2>/dev/null || true)
  while IFS= read -r line; do
    [[ $'\n'$block$'\n' == *$'\n'$line$'\n'* ]] || fail "$1" "/etc/hosts: without the line $line"
  done <"$ROOT$2"
}

check_release() { # role digest
  local link=$ROOT/var/lib/extensions/jarvis.raw active
  active=$(readlink "$link" 2>/dev/null || true)
  active=${active##*/}
  if [ "$active" != "$2.raw" ]; then
    switched=$(stat --format %Z "$link" 2>/dev/null || true)
    active=${active%.raw}
    if [ -n "$active" ]; then
      fail "$1" "host release: switched to ${active:0:12} ${switched:+$(at "$switched")}, deployed is ${2:0:12}"
    else
      fail "$1" "host release: ${2:0:12} is not there"
    fi
  elif [ ! -e "$ROOT/usr/lib/extension-release.d/extension-release.jarvis" ]; then
    fail "$1" "host release: not merged"
  fi
}

# A unit that was started by hand while another release was merged goes on with that one's program.
check_started() { # role unit
  local time=${unit_facts[$2 StateChangeTimestamp]:-}
  [ "${unit_facts[$2 ActiveState]:-}" = active ] && [[ $time = @* ]] && [ "${time#@}" -ge "$switched" ] || return 0
  fail "$1" "$2: started from another host release $(at "${time#@}")"
}

# Both as nftables itself writes them, without counters and what its dynamic sets have learned; the file's in a network
# of its own, gone with the command.
check_nft() { # role family table path
  local wanted now line rule before
  # shellcheck disable=SC2016  # for the other shell
  wanted=$(unshare --net -- bash -c 'nft --file "$1" && nft --stateless --terse list table "$2" "$3"' \
    bash "$ROOT$4" "$2" "$3" 2>/dev/null) || return 0
  if ! now=$(nft --stateless --terse list table "$2" "$3" 2>/dev/null); then
    fail "$1" "nft table $2 $3: gone"
    return 0
  fi
  [ "$now" != "$wanted" ] || return 0
  before=${found[$1]:-}
  while IFS= read -r line; do
    rule=${line:1}
    rule=${rule#"${rule%%[![:space:]]*}"}
    case $line in
      *[!\ \>\<\}$'\t']*) ;;
      *) continue ;;
    esac
    case $line in
      '> '*) fail "$1" "nft table $2 $3: somebody's rule: $rule" ;;
      '< '*) fail "$1" "nft table $2 $3: without the rule: $rule" ;;
    esac
  done < <(diff <(printf '%s\n' "$wanted") <(printf '%s\n' "$now"))
  [ "${found[$1]:-}" != "$before" ] || fail "$1" "nft table $2 $3: other rules"
}

check() {
  local role kind first second third fourth line
  local -A inputs=() deployed=()
  # First of all whether the release is the right one, for what runs from it.
  while IFS= read -r line; do
    read -r role kind first _ <<<"$line"
    case $kind in
      release) check_release "$role" "$first" && deployed[$first]=yes ;;
      input) inputs[$role]+=" $first" ;;
    esac
  done <<<"$lines"
  while IFS= read -r line; do
    read -r role kind first second third fourth <<<"$line"
    case $kind in
      file) check_file "$role" "$first" "$second" "$third" "$fourth" ;;
      dir | data) check_folder "$role" "$first" "$second" "$third" ;;
      interrupted) fail "$role" "applied in part: the last run did not come to its end" ;;
      path) [ -n "${about[$ROOT$first]:-}" ] || fail "$role" "$first: removed" ;;
      unit)
        check_unit "$role" "$first"
        if [ -n "$switched" ]; then
          for second in ${inputs[$role]:-}; do [ -z "${deployed[$second]:-}" ] || check_started "$role" "$first"; done
        fi
        ;;
      package) [ "${installed[$first]:-}" = installed ] || fail "$role" "package $first: not installed" ;;
      module) [ -d "$ROOT/sys/module/$first" ] || fail "$role" "kernel module $first: not loaded" ;;
      masked)
        [[ ${unit_facts[$first UnitFileState]:-} = masked* ]] || fail "$role" "$first: not masked any more"
        ;;
    esac
  done <<<"$lines"
  # What follows from a file is right or wrong by that file: where that was edited nothing more is known.
  while IFS= read -r line; do
    read -r role kind first second third _ <<<"$line"
    case $kind in
      sysctls) [ -n "${edited[$first]:-}" ] || check_sysctls "$role" "$first" ;;
      hosts) [ -n "${edited[$first]:-}" ] || check_hosts "$role" "$first" ;;
      nft) [ -n "${edited[$third]:-}" ] || check_nft "$role" "$first" "$second" "$third" ;;
    esac
  done <<<"$lines"
}

check_tool() { # what applies roles, against the copy that came with the other scripts
  [ -e "$ROOT$SCRIPTS/apply.sh" ] || return 0
  roles+=(apply)
  check_file apply 0755 root:root "${digests[$ROOT$SCRIPTS/apply.sh]:-}" "$APPLY"
}

main() {
  local folder role comma="" lines="" list
  local -a lists=()
  for folder in "$ROLES"/*/; do
    [ -d "$folder" ] || continue
    folder=${folder%/}
    roles+=("${folder##*/}")
    if [ -f "$folder/made" ]; then
      lists+=("$folder/made")
    else
      for list in "$folder/files" "$folder/units"; do [ ! -f "$list" ] || lists+=("$list"); done
    fi
  done
  [ ${#lists[@]} -eq 0 ] || lines=$(made "${lists[@]}")
  gather
  ask
  check
  check_tool
  printf '{"roles": {'
  for role in "${roles[@]}"; do
    printf '%s"%s": [%s]' "$comma" "$role" "${found[$role]:-}"
    comma=", "
  done
  printf '}}\n'
}

# The script itself is what stands on standard input.
main </dev/null
