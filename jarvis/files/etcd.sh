#!/bin/bash
# What an etcd member needs beyond its unit: to join, to be changed without the loss of quorum, to leave.
#
#   etcd-member join NAME PEER-URL FIRST OTHERS    before a start; FIRST (yes or no): may begin a new cluster
#   etcd-member settle NAME OTHERS                 after a start: makes a learner a full member, checks health
#   etcd-member gate                               succeeds when this member may be restarted
#   etcd-member drop PEER-URL                      takes a member out whose server is gone for good
#   etcd-member leave                              takes this member out of the cluster, where it can
#   etcd-member defrag                             gives back space, when much is unused and all are healthy
#
# OTHERS are the client URLs of the other configured members, with commas, or "-". The first member begins as
# a cluster of one; each other is added as a learner, which does not count for quorum until it has caught up:
# https://etcd.io/docs/v3.6/learning/design-learner/. Whoever has data simply starts.
set -euo pipefail
umask 022

readonly ROOT=${JARVIS_ROOT:-}
readonly DATA=$ROOT/var/lib/etcd
readonly CONFIG=$ROOT/etc/etcd
readonly FACTOR=${JARVIS_PATIENCE_FACTOR:-1}
readonly PATIENCE=${JARVIS_PATIENCE:-$((60 * FACTOR))}

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $(hostname): etcd: $*"
  exit 1
}

# etcdctl refuses a flag whose environment variable is set too, so the endpoints are always a flag.
client() { # endpoints command...
  local endpoints=$1
  shift
  env --unset=ETCDCTL_ENDPOINTS etcdctl --endpoints="$endpoints" --dial-timeout=$((2 * FACTOR))s --command-timeout=$((5 * FACTOR))s "$@"
}

problem() { head -n 1 "$problem_file" 2>/dev/null; }

split() { # words with commas, or "-"
  [ "$1" = - ] || tr ',' '\n' <<<"$1"
}

members() { # endpoints: the lines of the first that answers: ID, status, name, peer URLs, client URLs, learner
  local endpoint
  for endpoint in "$@"; do
    ! absent "$endpoint" || continue # etcdctl would try it for seconds
    client "$endpoint" member list 2>"$problem_file" && return 0
  done
  return 1
}

field() { # number peer-url <member list
  awk -F', ' -v number="$1" -v url="$2" '$4 == url {print $number}'
}

absent() { # endpoint: its server says that nothing listens there; silence is not an answer
  local address=${1#*://} problem
  problem=$(timeout 3 bash -c "exec 3<>/dev/tcp/${address%:*}/${address##*:}" 2>&1) && return 1
  [[ $problem == *"onnection refused"* ]]
}

add() { # name peer-url endpoints: as a learner; another one may still be catching up
  local name=$1 url=$2 deadline=$((SECONDS + PATIENCE)) problem
  shift 2
  until problem=$(client "$(join_with , "$@")" member add "$name" --learner --peer-urls="$url" 2>&1); do
    [[ $problem != *"Peer URLs already exists"* ]] || return 0
    [ "$SECONDS" -lt "$deadline" ] || die "cannot add $name to the cluster: $problem"
    sleep 1
  done
}

join_with() { # separator words
  local IFS=$1
  shift
  printf '%s' "$*"
}

begin() { # cluster state
  local temporary
  temporary=$(mktemp "$CONFIG/.join.XXXXXXXX")
  printf 'ETCD_INITIAL_CLUSTER=%s\nETCD_INITIAL_CLUSTER_STATE=%s\n' "$1" "$2" >"$temporary"
  chmod 0644 "$temporary"
  mv -T "$temporary" "$CONFIG/join.env"
}

join() { # name peer-url first others
  local name=$1 url=$2 first=$3 others list id known deadline=$((SECONDS + PATIENCE)) endpoint silent
  [ ! -d "$DATA/member/wal" ] || return 0
  mapfile -t others < <(split "$4")
  until list=$(members "${others[@]}"); do
    silent=()
    for endpoint in "${others[@]}"; do absent "$endpoint" || silent+=("$endpoint"); done
    if [ ${#silent[@]} -eq 0 ]; then
      [ "$first" = yes ] || die "no member is running that $name could join"
      say "etcd: $name begins a new cluster"
      begin "$name=$url" new
      return 0
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "$name has no data, and whether there is a cluster that it \
belongs to cannot be told: no answer from ${silent[*]} (systemctl status etcd there): $(problem)"
    sleep 1
  done
  id=$(field 1 "$url" <<<"$list")
  known=$(field 3 "$url" <<<"$list")
  if [ -n "$known" ]; then
    say "etcd: $name was a member whose data is gone: it is removed and added again"
    client "$(join_with , "${others[@]}")" member remove "$id" >&2
    id=""
  fi
  [ -n "$id" ] || add "$name" "$url" "${others[@]}"
  list=$(members "${others[@]}") || die "the cluster stopped answering while $name joined it"
  say "etcd: $name joins"
  begin "$(awk -F', ' -v name="$name" -v url="$url" \
    '{print ($4 == url ? name : $3) "=" $4}' <<<"$list" | paste -sd ,)" existing
}

settle() { # name others
  local name=$1 others list id learner problem="" deadline=$((SECONDS + PATIENCE))
  mapfile -t others < <(split "$2")
  while :; do
    if list=$(members "$own" "${others[@]}"); then
      id=$(awk -F', ' -v name="$name" '$3 == name {print $1}' <<<"$list")
      learner=$(awk -F', ' -v name="$name" '$3 == name {print $6}' <<<"$list")
      if [ "$learner" = true ]; then
        problem=$(client "$(join_with , "${others[@]}")" member promote "$id" 2>&1) || true
      elif [ -n "$id" ]; then
        problem=$(client "$own" endpoint health 2>&1) && return 0
      else
        problem="it is not in the member list"
      fi
    else
      problem="no member answers: $(problem)"
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "$name is not healthy after ${PATIENCE}s: $problem (journalctl --unit etcd)"
    sleep 0.3
  done
}

others_of() { # member list: client URLs of the full members that are not this one
  awk -F', ' -v own="$own" '$5 != own && $6 == "false" {print $5}'
}

unspared() { # says why this member may not be restarted, or nothing
  local list endpoint
  if ! list=$(members "$own"); then
    echo "this member does not answer, so it is not known whether the cluster can spare it: $(problem)"
    return 0
  fi
  while IFS= read -r endpoint; do
    if [ -n "$endpoint" ] && ! client "$endpoint" endpoint health >/dev/null 2>&1; then
      echo "the member at $endpoint is not healthy: a restart here would endanger the quorum (systemctl status etcd there)"
    fi
  done < <(others_of <<<"$list")
}

gate() {
  local reason deadline=$((SECONDS + PATIENCE / 2))
  # A member that does not run cannot take quorum away by being started.
  systemctl is-active --quiet etcd.service || return 0
  # The one before may have been the leader: an election takes a moment.
  while reason=$(unspared) && [ -n "$reason" ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "$reason"
    sleep 1
  done
}

leave() {
  local list id others reason deadline=$((SECONDS + PATIENCE / 6))
  systemctl is-active --quiet etcd.service || return 0
  while :; do
    list=$(members "$own") || return 0
    id=$(awk -F', ' -v own="$own" '$5 == own {print $1}' <<<"$list")
    others=$(others_of <<<"$list")
    if [ -z "$id" ] || [ -z "$others" ]; then return 0; fi
    reason=$(client "$own" member remove "$id" 2>&1) && return 0
    # Refused for five seconds after a member has come; where all leave at once, some find no quorum.
    if [ "$SECONDS" -ge "$deadline" ]; then
      say "etcd: still in the member list of the others: ${reason##*$'\n'}"
      return 0
    fi
    sleep 1
  done
}

drop() { # peer URL
  local list id reason="" deadline=$((SECONDS + PATIENCE))
  while :; do
    if list=$(members "$own"); then
      id=$(field 1 "$1" <<<"$list")
      [ -n "$id" ] || return 0
      if reason=$(client "$own" member remove "$id" 2>&1); then
        say "etcd: the member at $1 is lost, and is one no more"
        return 0
      fi
    else
      reason=$(problem)
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "the lost member at $1 is still one: ${reason##*$'\n'}"
    sleep 1
  done
}

defrag() {
  local status size used
  status=$(client "$own" endpoint status --write-out=fields)
  size=$(awk -F' : ' '$1 == "\"DBSize\"" {print $2}' <<<"$status")
  used=$(awk -F' : ' '$1 == "\"DBSizeInUse\"" {print $2}' <<<"$status")
  if [ "$size" -lt $((100 * 1024 * 1024)) ] || [ $((used * 2)) -gt "$size" ]; then
    say "etcd: $used of $size bytes are in use: nothing to do"
    return 0
  fi
  gate
  client "$own" --command-timeout=60s defrag >&2
}

set -a
# shellcheck disable=SC1091  # a file of the server
. "$CONFIG/etcdctl.env"
set +a
own=$ETCDCTL_ENDPOINTS
problem_file=$(mktemp)
trap 'rm -f "$problem_file"' EXIT

case ${1:-} in
  join) join "${2:?name}" "${3:?peer URL}" "${4:?yes or no}" "${5:?others}" ;;
  settle) settle "${2:?name}" "${3:?others}" ;;
  gate) gate ;;
  drop) drop "${2:?a peer URL}" ;;
  leave) leave ;;
  defrag) defrag ;;
  *) die "usage: etcd-member join|settle|gate|drop|leave|defrag" ;;
esac
