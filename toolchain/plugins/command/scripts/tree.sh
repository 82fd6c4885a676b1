# shellcheck shell=sh
# Takes a tar stream on standard input. $1: destination folder. $2: the name of a folder within it, or empty.
set -eu
folder() {
    if [ -e "$1" ] && [ ! -d "$1" ]; then
        echo "$1 exists but is not a folder" >&2
        exit 1
    fi
    [ -d "$1" ] || mkdir -- "$1"
}
destination=$1
folder "$destination"
if [ -n "$2" ]; then
    destination=${destination%/}/$2
    folder "$destination"
fi
exec tar -x -f - -C "$destination" --no-same-owner --no-same-permissions --touch
