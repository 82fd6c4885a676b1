#!/bin/bash
# What a member of the queue needs beyond its unit: to join, to be changed while the others serve, to leave.
#
#   rabbitmq-member prepare FIRST OTHERS   before a start; FIRST (yes or no): may begin a cluster
#   rabbitmq-member begin | begun          by the unit, before and after RabbitMQ's start
#   rabbitmq-member settle OTHERS          after a start: checks the member, and that nobody is left behind
#   rabbitmq-member gate                   succeeds when this member may be restarted
#   rabbitmq-member leave OTHERS           takes this member out of the cluster, where it can
#   rabbitmq-member cookie                 makes the members' shared secret the one that was sent
#   rabbitmq-member certificates           makes a running member read its certificates anew
#
# OTHERS are the names of the other configured servers, with commas, or "-". A member without data does
# nothing by itself: what it is to join is said by "prepare", once, and kept beside the data, so that an
# emptied disk has forgotten it. Only the first member begins a cluster, and only where no other server has
# the role. Whoever has been a member simply starts.
set -euo pipefail
umask 022

readonly DATA=${JARVIS_ROOT:-}/var/lib/rabbitmq
# The data is whole: the member was running once.
readonly MEMBER=$DATA/.jarvis-member
readonly FORMATION=$DATA/formation/10-formation.conf
readonly SENT=${JARVIS_ROOT:-}/var/lib/jarvis/queue/cookie
readonly COOKIE=$DATA/.erlang.cookie
readonly FACTOR=${JARVIS_PATIENCE_FACTOR:-1}
readonly PATIENCE=${JARVIS_PATIENCE:-$((60 * FACTOR))}
name=$(hostname --short)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $(hostname): queue: $*"
  exit 1
}

split() { # words with commas, or "-"
  [ "$1" = - ] || tr ',' '\n' <<<"$1"
}

ask() { # server expression: what RabbitMQ there evaluates it to
  timeout $((20 * FACTOR)) rabbitmqctl --quiet --node "rabbit@$1" eval "$2" </dev/null 2>&1
}

listens() { # server port: yes, no, or silent
  local problem
  if problem=$(timeout 3 bash -c "exec 3<>/dev/tcp/$1/$2" 2>&1); then
    echo yes
  elif [[ $problem == *"onnection refused"* ]]; then
    echo no
  else
    echo silent
  fi
}

replace() { # file, from stdin
  local temporary
  temporary=$(mktemp "$(dirname "$1")/.jarvis.XXXXXXXX")
  cat >"$temporary"
  chown rabbitmq:rabbitmq "$temporary"
  chmod 0640 "$temporary"
  sync "$temporary"
  mv -T "$temporary" "$1"
}

formation() { # members
  echo "cluster_formation.peer_discovery_backend = classic_config"
  printf '%s\n' "$@" | awk '{print "cluster_formation.classic_config.nodes." NR " = rabbit@" $1}'
}

prepare() { # first others
  local others other state stranger empty deadline=$((SECONDS + PATIENCE))
  # It lies beside the data, and may be gone with it.
  cookie
  [ ! -e "$MEMBER" ] || return 0
  if [ ! -e "$FORMATION" ]; then
    stranger=$(find "$DATA/mnesia" -mindepth 1 -print -quit 2>/dev/null || true)
    [ -z "$stranger" ] \
      || die "$DATA/mnesia has files, such as $stranger, of a queue that is not Jarvis': move them away, and run pulumi up again"
  fi
  install -d -m 0750 -o rabbitmq -g rabbitmq "$DATA/formation" "$DATA/mnesia"
  mapfile -t others < <(split "$2")
  # The port mapper is started by systemd wherever the role is, also while RabbitMQ there is down.
  while :; do
    empty=yes
    for other in "${others[@]}"; do
      state=$(listens "$other" 4369)
      if [ "$state" = yes ]; then
        say "queue: $name joins the cluster of ${others[*]}"
        formation "$name" "${others[@]}" | replace "$FORMATION"
        return 0
      fi
      [ "$state" = no ] || empty=$other
    done
    [ "$empty" != yes ] || break
    [ "$SECONDS" -lt "$deadline" ] || die "this member has no data, and whether there is a cluster that it \
belongs to cannot be told: no answer from $empty; power it on, or remove it from the configuration"
    sleep 1
  done
  [ "$1" = yes ] || die "there is no member that $name could join: the first server of the queue begins it"
  say "queue: $name begins a new cluster"
  echo "# The first member: nobody to join." | replace "$FORMATION"
}

begin() {
  local peers peer known
  [ ! -e "$MEMBER" ] || return 0
  [ -e "$FORMATION" ] || die "this member has no data and was not told which cluster it belongs to; type: pulumi up"
  # Half a member, of a start that was cut short: it never served anyone.
  find "$DATA/mnesia" -mindepth 1 -delete
  mapfile -t peers < <(sed -n "s/^cluster_formation.classic_config.nodes.*= rabbit@//p" "$FORMATION" | grep -vxF "$name")
  [ ${#peers[@]} -gt 0 ] || return 0
  # The others may know this member from before its data was lost: they would refuse it.
  while :; do
    for peer in "${peers[@]}"; do
      known=$(ask "$peer" "rabbit:is_running() andalso {known, lists:member('rabbit@$name', rabbit_mnesia:cluster_nodes(all))}.") \
        || continue
      case $known in
        "{known,false}") return 0 ;;
        "{known,true}")
          say "queue: $name was a member whose data is gone: it is removed and joins again"
          if timeout $((60 * FACTOR)) rabbitmqctl --quiet --node "rabbit@$peer" forget_cluster_node "rabbit@$name" </dev/null >&2; then
            return 0
          fi
          ;;
      esac
    done
    say "queue: waiting for a member to join: none of ${peers[*]} serves"
    sleep 2
  done
}

begun() {
  [ -e "$MEMBER" ] || { : >"$MEMBER" && sync "$MEMBER" "$DATA"; }
  rm -f "$FORMATION"
}

# What a member says of the whole, and the rights that RabbitMQ has on its own taken away.
readonly WHOLE='case rabbit:is_running() of
  false -> not_running;
  true ->
    [rabbit_auth_backend_internal:delete_user(<<"guest">>, <<"jarvis">>)
      || rabbit_auth_backend_internal:exists(<<"guest">>)],
    {missing, rabbit_mnesia:cluster_nodes(all) -- rabbit_mnesia:cluster_nodes(running)}
end.'

settle() { # others
  local answer ghost deadline=$((SECONDS + PATIENCE))
  until answer=$(ask "$name" "$WHOLE") && [ "$answer" != not_running ]; do
    [ "$SECONDS" -lt "$deadline" ] \
      || die "this member does not serve: $(tail -n 1 <<<"$answer") (journalctl --unit rabbitmq-server)"
    sleep 1
  done
  while IFS= read -r ghost; do
    if ! split "$1" | grep -qxF -- "${ghost#rabbit@}"; then
      say "queue: ${ghost#rabbit@} is not configured any more: it is removed from the cluster"
      timeout $((60 * FACTOR)) rabbitmqctl --quiet forget_cluster_node "$ghost" </dev/null >&2 || say "queue: $ghost could not be removed"
    fi
  done < <(grep -oE 'rabbit@[A-Za-z0-9.-]+' <<<"$answer" || true)
  timeout $((120 * FACTOR)) rabbitmq-queues grow "rabbit@$name" all --errors-only --quiet </dev/null >&2 \
    || die "not every queue has a replica here: rabbitmq-queues grow rabbit@$name all"
}

gate() {
  local answer reason deadline=$((SECONDS + PATIENCE))
  # A member that does not run, or that paused itself, cannot take quorum away by being started.
  systemctl is-active --quiet rabbitmq-server.service || return 0
  while :; do
    if ! answer=$(ask "$name" "$WHOLE"); then
      reason="this member does not answer, so it is not known whether the others can spare it: $(tail -n 1 <<<"$answer")"
    elif [ "$answer" = not_running ]; then
      return 0
    elif [ "$answer" != "{missing,[]}" ]; then
      reason="not running: $(grep -oE 'rabbit@[A-Za-z0-9.-]+' <<<"$answer" | paste -sd ' '); a restart here would endanger the queue (systemctl status rabbitmq-server there)"
    elif answer=$(timeout $((30 * FACTOR)) rabbitmq-diagnostics --quiet check_if_node_is_quorum_critical </dev/null 2>&1); then
      return 0
    else
      reason="a queue would lose its quorum: $(tail -n 1 <<<"$answer")"
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "$reason"
    sleep 1
  done
}

leave() { # others
  local others other
  [ -e "$MEMBER" ] || return 0
  mapfile -t others < <(split "$1")
  systemctl stop rabbitmq-server.service
  for other in "${others[@]}"; do
    [ "$(listens "$other" 25672)" = yes ] || continue
    if timeout $((20 * FACTOR)) rabbitmqctl --quiet --node "rabbit@$other" forget_cluster_node "rabbit@$name" </dev/null >&2; then
      return 0
    fi
  done
}

cookie() {
  local file
  # Whoever used RabbitMQ's tools here before has started a port mapper that is not systemd's, open to all.
  systemctl is-active --quiet epmd.socket || epmd -kill >/dev/null 2>&1 || true
  [ "$(cat "$SENT")" != "$(cat "$COOKIE" 2>/dev/null || true)" ] || return 0
  if [ -e "$MEMBER" ] && systemctl is-active --quiet rabbitmq-server.service; then
    # The running member takes it without a restart; connections between members stay as they are.
    file=$(mktemp "$DATA/.jarvis.XXXXXXXX")
    printf "erlang:set_cookie('%s').\n" "$(cat "$SENT")" >"$file"
    chown rabbitmq:rabbitmq "$file"
    chmod 0400 "$file"
    timeout $((20 * FACTOR)) rabbitmqctl --quiet eval_file "$file" </dev/null >/dev/null 2>&1 || say "queue: the running member was not told the new cookie yet"
    rm -f "$file"
  fi
  install -d -m 0755 -o rabbitmq -g rabbitmq "$DATA"
  file=$(mktemp "$DATA/.jarvis.XXXXXXXX")
  printf '%s' "$(cat "$SENT")" >"$file"
  chown rabbitmq:rabbitmq "$file"
  chmod 0400 "$file"
  sync "$file"
  mv -T "$file" "$COOKIE"
}

certificates() {
  [ -e "$MEMBER" ] && systemctl is-active --quiet rabbitmq-server.service || return 0
  ask "$name" 'ssl:clear_pem_cache().' >/dev/null || say "queue: certificates are read anew within two minutes"
}

case ${1:-} in
  prepare) prepare "${2:?yes or no}" "${3:?others}" ;;
  begin) begin ;;
  begun) begun ;;
  settle) settle "${2:?others}" ;;
  gate) gate ;;
  leave) leave "${2:?others}" ;;
  cookie) cookie ;;
  certificates) certificates ;;
  *) die "usage: rabbitmq-member prepare|begin|begun|settle|gate|leave|cookie|certificates" ;;
esac
