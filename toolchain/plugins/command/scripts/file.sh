# shellcheck shell=sh
# Takes a file on standard input. $1: destination. $2: its length in bytes. $3: its name within $1, when $1 is a
# folder; empty when it has no name.
set -eu
destination=$1
if [ -d "$destination" ]; then
    if [ -z "$3" ]; then
        echo "it is a folder; with a text asset, remotePath must be a file's path" >&2
        exit 1
    fi
    destination=${destination%/}/$3
fi
# A link stays a link: its target is what changes.
if [ -h "$destination" ]; then
    destination=$(readlink -f -- "$destination")
fi
if [ -e "$destination" ] && [ ! -f "$destination" ]; then
    exec cat >"$destination"
fi
temporary=$destination.part-$$
trap 'rm -f -- "$temporary"' EXIT
trap 'exit 1' HUP INT PIPE TERM
if [ -e "$destination" ]; then
    # An existing file keeps its owner and mode; its content is nobody else's while it arrives.
    (umask 077 && : >"$temporary")
    chown --reference="$destination" -- "$temporary" 2>/dev/null || true
    chmod --reference="$destination" -- "$temporary"
fi
cat >"$temporary"
received=$(wc -c <"$temporary")
if [ "$received" -ne "$2" ]; then
    echo "only $received of $2 bytes arrived" >&2
    exit 1
fi
mv -f -- "$temporary" "$destination"
trap - EXIT
