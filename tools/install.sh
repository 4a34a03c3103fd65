#!/bin/sh
# Installs this checkout with one extra into .venv, and makes .venv where there is none:  tools/install.sh dev
#
# With uv where it is on the PATH (UV=no forbids it), otherwise with Python's own venv and pip.
# PYTHON=… picks the interpreter, VENV=… another folder than .venv. What the installers say goes to build/install.log, and is shown if they fail.
set -eu
cd "$(dirname "$0")/.."
extra=$1
venv=${VENV:-.venv}
log=build/install.log
mkdir -p build
: >"$log"

fail() {
    printf '\n' >&2
    printf '%s\n' "$@" >&2
    exit 1
}

# Runs a command with a clock beside its name, so that one sees that something happens. False where it failed.
watched() {
    title=$1
    shift
    "$@" >>"$log" 2>&1 &
    child=$!
    trap 'kill "$child" 2>/dev/null; exit 130' INT TERM # a shell without job control shields its children from Ctrl-C
    seconds=0
    [ -t 1 ] || printf '   %s ' "$title"
    while kill -0 "$child" 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r   %s … %d s' "$title" "$seconds"
        elif [ $((seconds % 10)) -eq 9 ]; then
            printf '.'
        fi
        sleep 1
        seconds=$((seconds + 1))
    done
    trap - INT TERM
    wait "$child" && printf ' done\n' || { printf ' failed\n' && return 1; }
}

give_up() {
    tail -n 30 "$log" >&2
    fail "That failed, and the end of $log is above. Once it is mended, the same make command goes on from here."
}

# The interpreter that was asked for, or the first of the usual names that is new enough; empty where there is none.
find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

if [ -x "$venv/bin/python" ] && ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    fail "$venv was made by a Python that is too old or gone: rm -rf $venv, and run make again."
fi

with_uv() {
    [ -x "$venv/bin/python" ] || watched "making $venv with uv" uv venv --seed --python "${PYTHON:->=3.11}" "$venv" || return
    watched "installing .[$extra] with uv" uv pip install --python "$venv/bin/python" --editable ".[$extra]"
}

if [ "${UV:-yes}" != no ] && command -v uv >/dev/null; then
    with_uv && exit
    echo "   trying pip, which may know of other package indexes" # uv does not read pip's settings
fi

if [ ! -x "$venv/bin/pip" ]; then
    python=$(find_python)
    if [ -z "$python" ]; then
        found=$("${PYTHON:-python3}" --version 2>/dev/null || echo "not there")
        fail "agentnb needs Python 3.11 or newer; ${PYTHON:-python3} is: $found." \
            "Give another with PYTHON=…, e.g.: make demo PYTHON=/usr/bin/python3.12"
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        fail "$python ($version) comes without venv or ensurepip, so it cannot make a virtual environment." \
            "Debian and Ubuntu ship them apart:  apt-get install python$version-venv" \
            "or install uv, which needs neither."
    fi
    rm -rf "$venv" # what a failed attempt left, or one that uv made without pip
    watched "making $venv" "$python" -m venv "$venv" || give_up
fi
watched "installing .[$extra] with pip" \
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --editable ".[$extra]" || give_up
