#!/usr/bin/env bash
# Brings a fresh machine to where `python -m toolchain` runs: Debian packages and the virtual environment.
# Safe to run twice and to interrupt; when nothing is missing it says nothing and takes a fraction of a second.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/.venv
requirements=$root/requirements.txt
logs=$root/.jarvis/logs

say() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# --- Debian packages -------------------------------------------------------------------------------------------
# Further lists of packages, of what not everybody needs, are arguments.
mapfile -t wanted < <(cat "$root/toolchain/apt.txt" "$@" | sed -e 's/#.*//' -e '/^[[:space:]]*$/d' -e 's/[[:space:]]//g')
command -v dpkg-query >/dev/null ||
    fail "this machine has no dpkg: Jarvis is run from Debian 12. Use a Debian 12 machine or container."

declare -A installed=()
while read -r status package; do
    if [[ $status == installed ]]; then installed[$package]=1; fi
done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true)
missing=()
for package in "${wanted[@]}"; do
    [[ -n ${installed[$package]:-} ]] || missing+=("$package")
done

if ((${#missing[@]})); then
    say "Debian packages: installing ${missing[*]}"
    [[ $(id -u) == 0 ]] ||
        fail "installing Debian packages needs root. Type: sudo apt-get install ${missing[*]}"
    mkdir -p "$logs"
    log=$logs/apt.log
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } \
        </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "apt-get failed (whole log: $log). Once apt works again, type: apt-get install ${missing[*]}"
    fi
fi

# --- the virtual environment -----------------------------------------------------------------------------------
python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "no $python on PATH. Type: apt-get install python3 python3-venv"
stamp=$venv/.bootstrap
wanted_stamp=$(sha256sum <"$requirements")
if [[ -x $venv/bin/python && -r $stamp && $(<"$stamp") == "$wanted_stamp" ]]; then
    exit 0
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version 2>&1) is too old: Jarvis needs Python 3.11 or newer. Set PYTHON=/path/to/python3.11"

mkdir -p "$logs"
exec 9>"$root/.jarvis/bootstrap.lock"
if command -v flock >/dev/null; then flock 9; fi
started=$SECONDS
say "Python environment: installing requirements.txt into .venv"
log=$logs/python.log
only_uv=$logs/uv.txt
# Not in an `if`: there the shell would go on after a failed step.
set +e
(
    set -e
    # A half-made environment, or one whose interpreter is gone, is not worth repairing.
    [[ -x $venv/bin/python && -x $venv/bin/pip ]] || "$python" -m venv --clear "$venv"
    # uv installs the rest several times as fast as pip, and is in the same lock with its own hashes.
    awk '/^[^[:space:]#]/ {take = /^uv==/} take' "$requirements" >"$only_uv"
    if [[ -s $only_uv ]]; then
        "$venv/bin/pip" --disable-pip-version-check install --require-hashes --no-deps -r "$only_uv"
        # Compiled once here, because PYTHONDONTWRITEBYTECODE may be set where the program runs.
        env -u PYTHONDONTWRITEBYTECODE "$venv/bin/uv" pip install --python "$venv/bin/python" \
            --require-hashes --compile-bytecode -r "$requirements"
    else
        "$venv/bin/pip" --disable-pip-version-check install --require-hashes -r "$requirements"
    fi
) </dev/null >"$log" 2>&1
status=$?
set -e
if ((status)); then
    tail -n 15 "$log" >&2
    fail "the Python environment could not be made (whole log: $log). Type make again once PyPI answers."
fi
printf '%s' "$wanted_stamp" >"$stamp.new"
mv "$stamp.new" "$stamp"
say "Python environment: ready after $((SECONDS - started)) s"
