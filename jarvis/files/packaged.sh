# shellcheck shell=bash
# Services of Debian's packages that were on a server before Jarvis. Functions only: preflight.sh is sent behind this
# text, host.sh reads it.
#
# A package that an operator installed has started its service. Such a service is taken over where its data is
# provably as the package made it: stopped, disabled, and begun anew by the role. Anything more is somebody's: what it
# is comes with the commands that put it aside.

package_units() { # package: the units that it starts by itself, in the order in which they are stopped
  case $1 in
    haproxy) echo haproxy.service ;;
    keepalived) echo keepalived.service ;;
    mariadb-server) echo mariadb.service ;;
    rabbitmq-server) echo rabbitmq-server.service epmd.service epmd.socket ;;
  esac
}

package_owned() { # package: a role of Jarvis runs it, and nothing here is about it
  local unit
  for unit in $(package_units "$1"); do
    grep -qsxF -- "$unit" "${JARVIS_ROOT:-}"/var/lib/jarvis/roles/*/units && return 0
  done
  return 1
}

package_runs() { # package: a service of it, and be it about to
  local unit state
  for unit in $(package_units "$1"); do
    state=$(systemctl is-active "$unit" 2>/dev/null || true)
    case $state in active | activating | reloading) return 0 ;; esac
  done
  return 1
}

package_default() { # package: all its configuration files are its own
  dpkg-query --show --showformat '${Conffiles}\n' "$1" 2>/dev/null \
    | awk -v root="${JARVIS_ROOT:-}" '$3 != "obsolete" && NF > 1 {print $2 "  " root $1}' | md5sum --check --status 2>/dev/null
}

package_found() { # package: there is something to take over, or to refuse
  ! package_owned "$1" || return 1
  case $1 in
    # One that an operator configured goes on, unless it has a port that is needed. Keepalived as it comes never runs.
    haproxy) package_runs "$1" && package_default "$1" ;;
    mariadb-server) package_runs "$1" || [ -n "$(mariadb_database)" ] ;;
    rabbitmq-server) package_runs "$1" || [ -n "$(rabbitmq_data)" ] ;;
    *) return 1 ;;
  esac
}

mariadb_database() { # the first database in the package's folder that is not MariaDB's own; each is a folder
  local folder name
  for folder in "${JARVIS_ROOT:-}"/var/lib/mysql/*/; do
    name=$(basename "$folder")
    case $name in
      '*' | mysql | performance_schema | sys | test | lost+found) ;;
      *)
        echo "$name"
        return 0
        ;;
    esac
  done
}

rabbitmq_data() { # the first file, if there is one
  find "${JARVIS_ROOT:-}/var/lib/rabbitmq/mnesia" -mindepth 1 -print -quit 2>/dev/null || true
}

# What a queue has that no queue is born with, the first of it; "fresh" where there is nothing.
readonly RABBITMQ_FOUND='case
  [{member, N} || N <- rabbit_mnesia:cluster_nodes(all), N =/= node()]
  ++ [{queue, element(4, Q)} || Q <- rabbit_amqqueue:list_names()]
  ++ [{vhost, V} || V <- rabbit_vhost:list_names(), V =/= <<"/">>]
  ++ [{user, U} || L <- rabbit_auth_backend_internal:list_users(), {user, U} <- L, U =/= <<"guest">>]
  ++ [{exchange, element(4, X)} || X <- rabbit_exchange:list_names(),
      element(4, X) =/= <<>>, binary:match(element(4, X), <<"amq.">>) =/= {0, 4}]
  ++ [{policy, P} || P <- rabbit_policy:list()]
  ++ [{parameter, P} || P <- rabbit_runtime_parameters:list()]
of [] -> fresh; [One | _] -> One end.'

rabbitmq_strange() { # what there is in a queue that runs, or why that is not known; nothing where it is as it came
  local answer="" deadline=$((SECONDS + 120 * ${JARVIS_PATIENCE_FACTOR:-1}))
  while [ "$(systemctl is-active rabbitmq-server.service 2>/dev/null || true)" = activating ] \
    && [ "$SECONDS" -lt "$deadline" ]; do
    sleep 1
  done
  if ! systemctl is-active --quiet rabbitmq-server.service; then
    [ -z "$(rabbitmq_data)" ] || echo "data in $(rabbitmq_data), and does not run, so that nobody can ask what it is"
  elif ! answer=$(timeout $((120 * ${JARVIS_PATIENCE_FACTOR:-1})) rabbitmqctl --quiet eval "$RABBITMQ_FOUND" </dev/null 2>&1); then
    echo "something that it does not tell: $(tail -n 1 <<<"$answer")"
  elif [ "$answer" != fresh ]; then
    tr -s ' \n' ' ' <<<"$answer"
  fi
}

package_strange() { # package: one sentence about what is not the package's own; nothing where all is
  local found
  case $1 in
    mariadb-server)
      found=$(mariadb_database)
      [ -z "$found" ] || echo "mariadb: /var/lib/mysql has a database $found, which is not Jarvis' (another server for" \
        "the role; or, to put it aside: systemctl disable --now mariadb.service && mv /var/lib/mysql /var/lib/mysql.before)"
      ;;
    rabbitmq-server)
      found=$(rabbitmq_strange)
      [ -z "$found" ] || echo "rabbitmq: the queue that is here has ${found% }, and is not Jarvis' (another server for the" \
        "role; or, to put it aside: systemctl disable --now $(package_units "$1") &&" \
        "mv /var/lib/rabbitmq/mnesia /var/lib/rabbitmq-mnesia.before)"
      ;;
  esac
}
