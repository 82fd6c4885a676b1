#!/bin/bash
# Brings one role of this server to a given state: files, secrets and units.
#
#   apply ROLE 3<bundle <secret-bundle     apply --remove ROLE     apply --remove-all
#
# A bundle has one head line per entry, and each line of a file's content behind a "|":
#   file MODE OWNER:GROUP PATH | dir MODE OWNER:GROUP PATH | script MODE OWNER:GROUP SHA256 NAME PATH | unit NAME
#   input VALUE | before CMD | gate CMD | ready CMD | timeout SECONDS | after CMD | undo CMD | reload | purge PATH
#   module SHA256 NAME: a part of the next script, named for who reads a preview
#   beside PATH: no unit depends on this file | same SHA256 PATH: what takes the place of this file does the same
#   patience FACTOR: by how much all commands wait longer than on a usual server, in JARVIS_PATIENCE_FACTOR
#   seen SENTENCE: what a look at the server has found (observe.sh); it says that units may run what nobody asked for
# A script's content is not in the bundle: it stands among the server's scripts, by its name there.
# Everything is read and staged before the first file changes. Files change by temporary file and rename.
# A process for each step of each file would take longer than all the rest: steps are for all files at once.
# Units are restarted only when something that they depend on differs from what they last started with, or when they
# were started by hand with something else. One that is stopped, disabled or masked is brought back by itself.
#
# What a role is made of is written down in roles/ROLE/made, a line for each thing, for observe.sh to compare with:
#   file MODE OWNER:GROUP SHA256 PATH | dir MODE OWNER:GROUP PATH | data MODE OWNER:GROUP PATH | unit NAME | input VALUE
#   interrupted: a run has not come to its end
# Commands of a role add what they made to the file that JARVIS_MADE names (see observe.sh for further kinds).
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

server() { # its name in the configuration
  local name
  read -r _ name <"$BASE/cluster" 2>/dev/null || name=$(hostname)
  printf '%s' "$name"
}

copy_file() { # from to, which is not there
  local LC_ALL=C text
  set -o noclobber
  # It ends at a NUL, or is the whole.
  if IFS= read -r -d '' text <"$1"; then cat <"$1" >"$2"; else printf '%s' "$text" >"$2"; fi
  set +o noclobber
}

# The time since when what is at this path is not there any more, at the latest: its folder has changed since.
gone_since() { # path
  local folder=${1%/*}
  while [ ! -d "${folder:-/}" ]; do folder=${folder%/*}; done
  stat --format %Y -- "${folder:-/}"
}

strayed() { # seconds since 1970: since when a file was another than it should be; the earliest counts
  if [ "$stray" = 0 ] || [ "$1" -lt "$stray" ]; then stray=$1; fi
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
  local entry kind mode owner staged path about sum temporary since
  local -a files=() folders=() changed=() temporaries=()
  local -A found=() sums=() of_owner=() of_mode=()
  for entry in "${entries[@]}"; do
    read -r kind _ _ staged path <<<"$entry"
    [ "$kind" = dir ] || files+=("$staged" "$path")
  done
  [ ${#files[@]} -gt 0 ] || return 0
  while IFS='|' read -r about path; do found[$path]=$about; done \
    < <(stat --format '0%a %U:%G %Z %F|%n' -- "${files[@]}" 2>/dev/null)
  while read -r sum path; do sums[$path]=$sum; done < <(sha256sum -- "${files[@]}" 2>/dev/null)

  for entry in "${entries[@]}"; do
    read -r kind mode owner staged path <<<"$entry"
    [ "$kind" = file ] || continue
    made+=("file $mode $owner ${sums[$staged]} $path")
    if [[ ${found[$path]:-} = "$mode $owner "*" regular"* && ${sums[$path]:-} = "${sums[$staged]}" ]]; then
      continue
    fi
    [[ $path != /etc/systemd/* ]] || reread=yes
    # Where nothing else is asked for than before, somebody changed it, and a unit may have been started since.
    if [ "$same" = yes ] && [[ -z ${beside[$path]:-} && ${like[$path]:-none} != "${sums[$path]:-}" ]] \
      && [[ ${found[$path]:-} != *" regular"* || ${sums[$path]:-} != "${sums[$staged]}" ]]; then
      read -r _ _ since _ <<<"${found[$path]:-}"
      strayed "${since:-$(gone_since "$path")}"
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
  [ "$stray" = 0 ] || echo "$stray" >"$home/stray"

  [ ${#folders[@]} -eq 0 ] || (umask 022 && mkdir -p "${folders[@]}")
  rm -f -- "${temporaries[@]}"
  for entry in "${changed[@]}"; do
    read -r staged temporary _ <<<"$entry"
    copy_file "$staged" "$temporary"
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
        [ -f "$SCRIPTS/$name" ] \
          || die "$path: this server has no script $name; type: pulumi up --replace '**CopyToRemote::$(server)-apply'"
        copy_file "$SCRIPTS/$name" "$staged"
        sha256sum --check --status <<<"$sum  $staged" \
          || die "$path: the server's script $name is another than this role wants; type: pulumi up\
 --replace '**CopyToRemote::$(server)-apply'"
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
      seen) seen=yes ;;
      reload) reload=yes ;;
      purge) purge+=("$rest") ;;
      beside) beside[$rest]=yes ;;
      same) like[${rest#* }]=${rest%% *} ;;
      module | "") ;;
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
    [ -z "${beside[$path]:-}" ] || continue
    printf '%s %s %s %s\n' "$kind" "$mode" "$owner" "$path" >"$staged.head"
    parts+=("$staged.head")
    [ "$kind" = dir ] || parts+=("$staged")
  done
  {
    printf '%s\n' "${inputs[@]}" "${units[@]}" "$ready"
    [ ${#parts[@]} -eq 0 ] || cat "${parts[@]}"
  } | sha256sum | cut -d' ' -f1
}

# Whether the units run with what is asked for already, though their digest is another: nothing differs from what was
# written down when they were started, but files beside them, and those whose successors do the same.
run_already() { # what was written down
  local entry kind mode owner sum path staged rest
  local -a files=() was=() asked=()
  local -A sums=() awaited=()
  [ -s "$home/started" ] && [ -s "$1" ] && [ $((${#beside[@]} + ${#like[@]})) -gt 0 ] || return 1
  for path in "${!like[@]}"; do awaited[$path]=yes; done
  while read -r kind rest; do
    path=${rest##* }
    case $kind in
      interrupted) return 1 ;;
      file | dir)
        [ -z "${beside[$path]:-}" ] || continue
        if [ -n "${like[$path]:-}" ]; then
          [ "$rest" != "${rest/ ${like[$path]} / }" ] || return 1
          unset "awaited[$path]"
          continue
        fi
        was+=("$kind $rest")
        ;;
      unit | input) was+=("$kind $rest") ;;
    esac
  done <"$1"
  [ ${#awaited[@]} -eq 0 ] || return 1
  for entry in "${entries[@]}"; do
    read -r kind _ _ staged _ <<<"$entry"
    [ "$kind" = dir ] || files+=("$staged")
  done
  while read -r sum path; do sums[$path]=$sum; done < <(sha256sum -- "${files[@]}")
  for entry in "${entries[@]}"; do
    read -r kind mode owner staged path <<<"$entry"
    [ -z "${beside[$path]:-}${like[$path]:-}" ] || continue
    if [ "$kind" = dir ]; then asked+=("dir $mode $owner $path"); else asked+=("file $mode $owner ${sums[$staged]} $path"); fi
  done
  asked+=("${units[@]/#/unit }" "${inputs[@]/#/input }")
  cmp --silent <(printf '%s\n' "${was[@]}" | sort) <(printf '%s\n' "${asked[@]}" | sort)
}

# What systemd knows of the units, in one question: since when they are as they are, and what is to become of them.
look_at_units() {
  local line at=0 unit
  enabled=() since=() running=()
  while IFS= read -r line; do
    unit=${units[at]:-none}
    case $line in
      "") at=$((at + 1)) ;;
      UnitFileState=*) enabled[$unit]=${line#*=} ;;
      StateChangeTimestamp=@*) since[$unit]=${line#*@} ;;
      MainPID=*) running[$unit]=${line#*=} ;;
    esac
  done < <(systemctl show --timestamp=unix --property UnitFileState,StateChangeTimestamp,MainPID "${units[@]}" 2>/dev/null)
}

# By hand units are started from another release, whose programs have the same paths.
runs_another() { # unit: it runs another program of a release than the one that lies at its path by now
  local path program proc=${JARVIS_PROC:-/proc}/${running[$1]:-0}/exe
  program=$(readlink "$proc" 2>/dev/null) || return 1
  path=$(systemctl show --property ExecStart --value "$1" 2>/dev/null | sed -nE '1s/^\{ path=([^ ;]+) ;.*/\1/p')
  program=${program% (deleted)}
  [ -n "$path" ] && [ "${program##*/}" = "${path##*/}" ] && [ -f "$path" ] && ! cmp --silent "$proc" "$path"
}

reclaim_units() { # what somebody masked is a unit again
  local unit
  for unit in "${units[@]}"; do
    [[ ${enabled[$unit]:-} = masked* ]] || continue
    systemctl unmask --quiet "$unit"
    systemctl unmask --runtime --quiet "$unit"
    reread=yes
  done
}

# Nothing else is asked for than what the units were started with: what somebody did to them is undone, and nothing more.
mend_units() {
  local unit
  local -a stopped=() wrong=() disabled=()
  for unit in "${units[@]}"; do
    [[ ${enabled[$unit]:-} != disabled && ${enabled[$unit]:-} != masked* ]] || disabled+=("$unit")
    if ! systemctl is-active --quiet "$unit"; then
      stopped+=("$unit")
    elif [ "$stray" != 0 ] && [ "${since[$unit]:-0}" -ge "$stray" ]; then
      wrong+=("$unit")
    elif [ -n "$seen" ] && [ ${#inputs[@]} -gt 0 ] && runs_another "$unit"; then
      wrong+=("$unit")
    fi
  done
  [ ${#disabled[@]} -eq 0 ] || systemctl enable --quiet --no-reload "${disabled[@]}"
  if [ -n "$reread" ] || [ ${#disabled[@]} -gt 0 ]; then systemctl daemon-reload; fi
  if [ ${#stopped[@]} -eq 0 ] && [ ${#wrong[@]} -eq 0 ]; then
    [ ${#disabled[@]} -eq 0 ] || say "${role}: enabled ${disabled[*]}"
    [ ${#disabled[@]} -gt 0 ] || say "${role}: unchanged"
    return 0
  fi
  # One that does not run takes nothing from the others when it starts: the gate is for those that do.
  [ ${#wrong[@]} -eq 0 ] || pass_gate
  [ ${#stopped[@]} -eq 0 ] || systemctl reset-failed "${stopped[@]}" 2>/dev/null || true
  for unit in "${stopped[@]}"; do bring "$unit" start; done
  for unit in "${wrong[@]}"; do bring "$unit" "$verb"; done
  [ -z "$ready" ] || await_ready
  say "${role}: started ${stopped[*]} ${wrong[*]}"
}

pass_gate() {
  local status=0
  [ -n "$gate" ] || return 0
  timeout "$timeout" bash -c "$gate" >&2 || status=$?
  [ "$status" != 124 ] || late "not restarted, still waited for: $gate: no answer"
  [ "$status" = 0 ] \
    || die "not restarted, since this does not hold: $gate (nothing of its units has been touched; mend that and run again)"
}

bring() { # unit verb
  local status=0
  timeout "$timeout" systemctl "$2" "$1" >&2 || status=$?
  [ "$status" != 0 ] || return 0
  explain "$1"
  [ "$status" != 124 ] || late "still waited for: $1, which is $(unit_state "$1"): not started"
  die "$1 did not start"
}

write_started() { # digest
  printf '%s\n' "$1" >"$home/started.new"
  mv -T "$home/started.new" "$home/started"
}

start_units() { # digest
  local unit verb=restart
  local -A enabled=() since=() running=()
  [ -z "$reload" ] || verb='reload-or-restart'
  # A unit whose file was a link to nowhere is known by its own file only after this.
  if [ -n "$reread" ] && [ "$same" = yes ]; then
    systemctl daemon-reload
    reread=""
  fi
  look_at_units
  reclaim_units
  if [ "$same" = yes ]; then
    mend_units
    return 0
  fi
  [ ! -s "$home/started" ] || pass_gate
  systemctl enable --quiet --no-reload "${units[@]}"
  systemctl daemon-reload
  systemctl reset-failed "${units[@]}" 2>/dev/null || true
  for unit in "${units[@]}"; do bring "$unit" "$verb"; done
  [ -z "$ready" ] || await_ready
  write_started "$1"
  say "${role}: started ${units[*]}"
}

# Folders of data have the rights that the programs gave them: what those are is written down once they run. Below /run
# everything is made anew at each boot.
data_rights() { # of each: mode, owner, path; those that the role asks for have their rights from there
  local path
  local -a folders=()
  for path in "${purge[@]}"; do
    if [[ $path != /run/* && -z ${own[$path]:-} && -d $path && ! -L $path ]]; then folders+=("$path"); fi
  done
  [ ${#folders[@]} -eq 0 ] || stat --format '0%a %U:%G %n' -- "${folders[@]}"
}

mend_data() { # what was written down
  local kind mode owner path
  local -A now=()
  [ -s "$1" ] || return 0
  while read -r mode owner path; do now[$path]="$mode $owner"; done < <(data_rights)
  while read -r kind mode owner path; do
    if [ "$kind" != data ] || [ "${now[$path]:-$mode $owner}" = "$mode $owner" ]; then continue; fi
    chown "$owner" "$path"
    chmod "$mode" "$path"
  done <"$1"
}

write_made() {
  local entry kind mode owner path unit value
  for entry in "${entries[@]}"; do
    read -r kind mode owner _ path <<<"$entry"
    [ "$kind" != dir ] || made+=("dir $mode $owner $path")
  done
  for unit in "${units[@]}"; do made+=("unit $unit"); done
  for value in "${inputs[@]}"; do made+=("input $value"); done
  while read -r mode owner path; do made+=("data $mode $owner $path"); done < <(data_rights)
  {
    printf '%s\n' "${made[@]}"
    cat "$JARVIS_MADE"
  } >"$home/made.new"
  rm -f "$home/was-made" "$home/stray"
  mv -T "$home/made.new" "$home/made"
}

apply() {
  local stage entry path unit known=$home/files line wanted="" same=no stray=0 reread=""
  local -a made=()
  local -A own=()
  stage=$(mktemp -d /run/jarvis.XXXXXXXX)
  # shellcheck disable=SC2064  # the folder's name is to be expanded now
  trap "rm -rf '$stage'" EXIT
  parse "$stage" clear <&3
  parse "$stage" secret
  mkdir -p "$home"
  export JARVIS_MADE=$stage/made
  : >"$JARVIS_MADE"
  if [ ${#units[@]} -gt 0 ]; then
    wanted=$(digest)
    [ "$(cat "$home/started" 2>/dev/null || true)" != "$wanted" ] || same=yes
    line=$home/made
    [ ! -e "$home/was-made" ] || line=$home/was-made
    # Before any file changes: a run that is cut off then leaves the next one nothing to restart.
    if [ "$same" = no ] && run_already "$line"; then
      same=yes
      write_started "$wanted"
    fi
  fi

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

  # A run that is cut off leaves word of that, and what the next one must know: it finds the files mended already.
  if [ -e "$home/made" ] && [ ! -e "$home/was-made" ]; then mv -T "$home/made" "$home/was-made"; fi
  echo interrupted >"$home/made"
  stray=$(cat "$home/stray" 2>/dev/null || echo 0)
  make_directories
  install_files
  mend_data "$home/was-made"
  while IFS= read -r path; do
    [ -n "${own[$path]:-}" ] || [ -d "$path" ] || remove_file "$path"
  done <"$known"
  sort -u "$stage/files" >"$known.new"
  mv -T "$known.new" "$known"

  for line in "${before[@]}"; do bash -c "$line" >&2 || die "failed: $line"; done
  [ ${#units[@]} -eq 0 ] || start_units "$wanted"
  for line in "${after[@]}"; do bash -c "$line" >&2 || die "failed: $line"; done
  write_made
}

remove() {
  local path unit line
  [ -d "$home" ] || return 0
  while IFS= read -r line; do
    [ -z "$line" ] || bash -c "$line" </dev/null >&2 || say "${role}: could not be undone, and is removed all the same: $line"
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
  declare -gA beside=() like=()
  entries=() units=() inputs=() before=() after=() undo=() purge=() gate="" ready="" timeout=60 reload="" seen=""
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
