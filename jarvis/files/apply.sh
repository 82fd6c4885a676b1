#!/bin/bash
# Brings one role of this server to a given state: files, secrets and units.
#
#   apply ROLE 3<bundle <secret-bundle     apply --remove ROLE     apply --remove-all
#
# A bundle has one head line per entry, and each line of a file's content behind a "|":
#   file MODE OWNER:GROUP PATH | dir MODE OWNER:GROUP PATH | script MODE OWNER:GROUP SHA256 NAME PATH | unit NAME
#   input VALUE | before CMD | gate CMD | ready CMD | timeout SECONDS | after CMD | undo CMD | reload | purge PATH
#   patience FACTOR: by how much all commands wait longer than on a usual server, in JARVIS_PATIENCE_FACTOR
# A script's content is not in the bundle: it stands among the server's scripts, by its name there.
# Everything is read and staged before the first file changes. Files change by temporary file and rename.
# A process for each step of each file would take longer than all the rest: steps are for all files at once.
# Units are restarted only when something that they depend on differs from what they last started with.
set -euo pipefail
umask 077

readonly BASE=${JARVIS_BASE:-/var/lib/jarvis}
readonly SCRIPTS=$BASE-scripts
role=

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $(hostname): role ${role:-?}: $*"
  exit 1
}

copy_text() { # from to, which is not there
  local LC_ALL=C text
  IFS= read -r -d '' text <"$1" || true
  set -o noclobber
  printf '%s' "$text" >"$2"
  set +o noclobber
}

make_directories() {
  local entry kind mode owner path
  for entry in "${entries[@]}"; do
    read -r kind mode owner _ path <<<"$entry"
    [ "$kind" = dir ] || continue
    (umask 022 && mkdir -p "$path")
    chown "$owner" "$path"
    chmod "$mode" "$path"
  done
}

install_files() {
  local entry kind mode owner staged path about sum temporary
  local -a files=() folders=() changed=() temporaries=()
  local -A found=() sums=() of_owner=() of_mode=()
  for entry in "${entries[@]}"; do
    read -r kind _ _ staged path <<<"$entry"
    [ "$kind" = dir ] || files+=("$staged" "$path")
  done
  [ ${#files[@]} -gt 0 ] || return 0
  while IFS='|' read -r about path; do found[$path]=$about; done \
    < <(stat --format '0%a %U:%G %F|%n' -- "${files[@]}" 2>/dev/null)
  while read -r sum path; do sums[$path]=$sum; done < <(sha256sum -- "${files[@]}" 2>/dev/null)

  for entry in "${entries[@]}"; do
    read -r kind mode owner staged path <<<"$entry"
    [ "$kind" = file ] || continue
    if [[ ${found[$path]:-} = "$mode $owner regular"* && ${sums[$path]:-} = "${sums[$staged]}" ]]; then
      continue
    fi
    # Always the same name, so that the next run finds what one that was cut off has left.
    temporary=${path%/*}/.jarvis.$role.${path##*/}
    changed+=("$staged $temporary $path")
    temporaries+=("$temporary")
    of_owner[$owner]+=" $temporary"
    of_mode[$mode]+=" $temporary"
    [ -d "${path%/*}" ] || folders+=("${path%/*}")
  done
  [ ${#changed[@]} -gt 0 ] || return 0

  [ ${#folders[@]} -eq 0 ] || (umask 022 && mkdir -p "${folders[@]}")
  rm -f -- "${temporaries[@]}"
  for entry in "${changed[@]}"; do
    read -r staged temporary _ <<<"$entry"
    copy_text "$staged" "$temporary"
  done
  # No path has a blank (jarvis.remote.files).
  # shellcheck disable=SC2086
  for owner in "${!of_owner[@]}"; do chown "$owner" ${of_owner[$owner]}; done
  # shellcheck disable=SC2086
  for mode in "${!of_mode[@]}"; do chmod "$mode" ${of_mode[$mode]}; done
  sync "${temporaries[@]}"
  for entry in "${changed[@]}"; do
    read -r _ temporary path <<<"$entry"
    mv -T "$temporary" "$path"
  done
}

remove_file() {
  rm -f -- "$1"
  rmdir --parents --ignore-fail-on-non-empty -- "$(dirname "$1")" 2>/dev/null || true
}

check_owner() { # user:group path
  [ -z "${owners[$1]:-}" ] || return 0
  getent passwd "${1%%:*}" >/dev/null || die "$2: no user ${1%%:*} on this server"
  getent group "${1##*:}" >/dev/null || die "$2: no group ${1##*:} on this server"
  owners[$1]=known
}

parse() { # stage
  local line head="" mode owner path count=0 staged="" rest sum name
  local -A owners=()
  while IFS= read -r line || [ -n "$line" ]; do
    if [ "${line:0:1}" = "|" ]; then
      [ "$head" = file ] || die "the bundle has content outside a file"
      printf '%s\n' "${line:1}" >>"$staged"
      continue
    fi
    head=${line%% *}
    rest=${line#"$head"}
    rest=${rest# }
    case $head in
      file | dir)
        read -r mode owner path <<<"$rest"
        check_owner "$owner" "$path"
        count=$((count + 1))
        staged=$1/$2.$count
        [ "$head" = dir ] || : >"$staged"
        entries+=("$head $mode $owner $staged $path")
        ;;
      script)
        read -r mode owner sum name path <<<"$rest"
        count=$((count + 1))
        staged=$1/$2.$count
        [ -f "$SCRIPTS/$name" ] || die "$path: this server has no script $name"
        copy_text "$SCRIPTS/$name" "$staged"
        sha256sum --check --status <<<"$sum  $staged" \
          || die "$path: the server's script $name is another than this role wants; type: pulumi up"
        entries+=("file $mode $owner $staged $path")
        ;;
      unit) units+=("$rest") ;;
      input) inputs+=("$rest") ;;
      before) before+=("$rest") ;;
      after) after+=("$rest") ;;
      undo) undo+=("$rest") ;;
      gate) gate=$rest ;;
      ready) ready=$rest ;;
      timeout) timeout=$rest ;;
      patience) export JARVIS_PATIENCE_FACTOR=$rest ;;
      reload) reload=yes ;;
      purge) purge+=("$rest") ;;
      "") ;;
      *) die "the bundle has a line of an unknown kind: $head" ;;
    esac
  done
}

explain() { # unit
  say "--- the last lines of $1:"
  journalctl --no-pager --quiet --lines 20 --output cat --unit "$1" >&2 || true
  say "--- look further with: journalctl --unit $1"
}

# What comes up later is found by the next run; what is always slow wants more patience.
late() { # what was waited for
  die "$1 within ${timeout}s; if it comes up later, type: pulumi up (a slow server: raise patience in the configuration)"
}

unit_state() { # unit: its state, and what it says of itself
  systemctl show --property ActiveState,SubState,StatusText --value "$1" 2>/dev/null | grep . | paste -sd ' ' || true
}

await_ready() {
  local deadline=$((SECONDS + timeout)) problem="" status unit
  while :; do
    status=0
    problem=$(timeout "$timeout" bash -c "$ready" 2>&1) || status=$?
    [ "$status" != 0 ] || return 0
    [ "$status" != 124 ] || problem="no answer of it${problem:+, after: $problem}"
    for unit in "${units[@]}"; do
      if systemctl is-failed --quiet "$unit"; then
        explain "$unit"
        die "$unit has failed"
      fi
    done
    if [ "$SECONDS" -ge "$deadline" ]; then
      for unit in "${units[@]}"; do explain "$unit"; done
      late "still waited for: $ready: ${problem:-status $status}: not ready"
    fi
    sleep 0.3
  done
}

digest() { # of what the units depend on
  local entry kind mode owner staged path
  local -a parts=()
  for entry in "${entries[@]}"; do
    read -r kind mode owner staged path <<<"$entry"
    printf '%s %s %s %s\n' "$kind" "$mode" "$owner" "$path" >"$staged.head"
    parts+=("$staged.head")
    [ "$kind" = dir ] || parts+=("$staged")
  done
  {
    printf '%s\n' "${inputs[@]}" "${units[@]}" "$ready"
    [ ${#parts[@]} -eq 0 ] || cat "${parts[@]}"
  } | sha256sum | cut -d' ' -f1
}

start_units() { # digest
  local unit started running=yes verb=restart status
  started=$(cat "$home/started" 2>/dev/null || true)
  for unit in "${units[@]}"; do systemctl is-active --quiet "$unit" || running=no; done
  if [ "$running" = yes ] && [ "$started" = "$1" ]; then
    say "${role}: unchanged"
    return 0
  fi
  if [ -n "$gate" ] && [ -n "$started" ]; then
    status=0
    timeout "$timeout" bash -c "$gate" >&2 || status=$?
    [ "$status" != 124 ] || late "not restarted, still waited for: $gate: no answer"
    [ "$status" = 0 ] \
      || die "not restarted, since this does not hold: $gate (nothing of its units has been touched; mend that and run again)"
  fi
  systemctl enable --quiet --no-reload "${units[@]}"
  systemctl daemon-reload
  systemctl reset-failed "${units[@]}" 2>/dev/null || true
  [ -z "$reload" ] || verb='reload-or-restart'
  for unit in "${units[@]}"; do
    status=0
    timeout "$timeout" systemctl "$verb" "$unit" >&2 || status=$?
    [ "$status" != 0 ] || continue
    explain "$unit"
    [ "$status" != 124 ] || late "still waited for: $unit, which is $(unit_state "$unit"): not started"
    die "$unit did not start"
  done
  [ -z "$ready" ] || await_ready
  printf '%s\n' "$1" >"$home/started.new"
  mv -T "$home/started.new" "$home/started"
  say "${role}: started ${units[*]}"
}

apply() {
  local stage entry path unit known=$home/files line
  local -A own=()
  stage=$(mktemp -d /run/jarvis.XXXXXXXX)
  # shellcheck disable=SC2064  # the folder's name is to be expanded now
  trap "rm -rf '$stage'" EXIT
  parse "$stage" clear <&3
  parse "$stage" secret
  mkdir -p "$home"

  # What the role will own is written down first: an interrupted run leaves nothing that nobody knows.
  for entry in "${entries[@]}"; do
    read -r _ _ _ _ path <<<"$entry"
    own[$path]=yes
    printf '%s\n' "$path"
  done >"$stage/files"
  { cat "$known" 2>/dev/null || true; cat "$stage/files"; } | sort -u >"$known.new"
  mv -T "$known.new" "$known"
  printf '%s\n' "${units[@]}" >"$stage/units"
  printf '%s\n' "${purge[@]}" >"$home/purge"
  printf '%s\n' "${undo[@]}" >"$home/undo"
  [ -s "$home/order" ] || date +%s%N >"$home/order"

  if [ -f "$home/units" ]; then
    while IFS= read -r unit; do
      if [ -n "$unit" ] && ! grep -qxF -- "$unit" "$stage/units"; then
        systemctl disable --now --quiet "$unit" 2>/dev/null || true
      fi
    done <"$home/units"
  fi
  cp "$stage/units" "$home/units.new"
  mv -T "$home/units.new" "$home/units"

  make_directories
  install_files
  while IFS= read -r path; do
    [ -n "${own[$path]:-}" ] || [ -d "$path" ] || remove_file "$path"
  done <"$known"
  sort -u "$stage/files" >"$known.new"
  mv -T "$known.new" "$known"

  for line in "${before[@]}"; do bash -c "$line" >&2 || die "failed: $line"; done
  [ ${#units[@]} -eq 0 ] || start_units "$(digest)"
  for line in "${after[@]}"; do bash -c "$line" >&2 || die "failed: $line"; done
}

remove() {
  local path unit line
  [ -d "$home" ] || return 0
  while IFS= read -r line; do
    [ -z "$line" ] || bash -c "$line" >&2 || say "${role}: could not be undone, and is removed all the same: $line"
  done < <(cat "$home/undo" 2>/dev/null)
  while IFS= read -r unit; do
    [ -z "$unit" ] || systemctl disable --now --quiet "$unit" 2>/dev/null || true
  done < <(tac "$home/units" 2>/dev/null)
  while IFS= read -r path; do
    if [ -d "$path" ]; then rmdir --ignore-fail-on-non-empty -- "$path" 2>/dev/null || true; else remove_file "$path"; fi
  done < <(sort -r "$home/files" 2>/dev/null)
  while IFS= read -r path; do
    [ -z "$path" ] || rm -rf --one-file-system -- "$path" || say "${role}: not all of $path could be removed"
  done < <(cat "$home/purge" 2>/dev/null)
  systemctl daemon-reload
  while IFS= read -r unit; do
    [ -z "$unit" ] || systemctl reset-failed "$unit" 2>/dev/null || true
  done < <(cat "$home/units" 2>/dev/null)
  rm -rf -- "$home"
  say "${role}: removed"
}

remove_all() { # the role that was applied first goes last
  local number
  while read -r number role; do
    home=$BASE/roles/$role
    remove
  done < <(for home in "$BASE"/roles/*/; do
    role=$(basename "$home")
    number=$(cat "$home/order" 2>/dev/null || true)
    [ ! -d "$home" ] || printf '%s %s\n' "${number:-0}" "$role"
  done | sort -rn)
  rm -rf --one-file-system -- "$BASE"
}

main() {
  entries=() units=() inputs=() before=() after=() undo=() purge=() gate="" ready="" timeout=60 reload=""
  if [ "${1:-}" = --remove-all ]; then
    remove_all
  elif [ "${1:-}" = --remove ]; then
    role=${2:?the role}
    home=$BASE/roles/$role
    remove
  else
    role=${1:?the role}
    home=$BASE/roles/$role
    mkdir -p "$BASE/roles"
    exec 9>"$BASE/roles/.$role.lock"
    # A run whose connection was cut may still be at work: wait for it rather than write beside it.
    flock --wait 300 9 || die "another apply of this role is still running"
    apply
  fi
}

main "$@"
