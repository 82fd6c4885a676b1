#!/bin/bash
# Makes the data directory of MariaDB where there is none. An interrupted run is begun again.
#
#   mariadb-init.sh [DIRECTORY]
set -euo pipefail

data=${1:-/var/lib/mysql}
# As long as this file is there the data is not whole, and mariadb.service does not start.
marker=$data/.jarvis-initialising

die() {
  printf 'error: %s: %s\n' "$(hostname)" "$*" >&2
  exit 1
}

[ -d "$data" ] || install -d -m 0755 -o mysql -g mysql "$data"
if [ -d "$data/mysql" ] && [ ! -e "$marker" ]; then
  exit 0
fi
if [ ! -e "$marker" ]; then
  stranger=$(find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found -print -quit)
  [ -z "$stranger" ] \
    || die "$data has files, such as $stranger, but is no database: look at them, move them away, and run pulumi up again"
  : >"$marker"
  sync "$marker" "$data"
fi
systemctl stop mariadb.service
find "$data" -mindepth 1 -maxdepth 1 ! -name lost+found ! -path "$marker" -exec rm -rf -- {} +
chown mysql:mysql "$data"
mariadb-install-db --user=mysql --datadir="$data" --auth-root-authentication-method=socket \
  --auth-root-socket-user=root --skip-test-db --skip-name-resolve >/dev/null \
  || die "mariadb-install-db failed in $data"
sync --file-system "$data"
rm "$marker"
sync "$data"
