#!/bin/sh
# Makes .venv with exactly what requirements.lock names, hashes checked, and this checkout on top.
# Does nothing when that is done already. Run by the Makefile; needs Linux, glibc and Python 3.11-3.13.
set -eu
cd "$(dirname "$0")"

VENV=${VENV:-.venv}
STAMP=$VENV/.tallystick-installed
LOG=$VENV/install.log
TICK_S=10

fail() {
    printf 'tallystick: %s\n' "$1" >&2
    exit 1
}

# What the installation depends on. The path too: a moved .venv names its old one in every script.
wanted() {
    cat requirements.lock pyproject.toml clients/python/pyproject.toml | cksum
    pwd -P
}

if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(wanted)" ] && [ -x "$VENV/bin/python" ]; then
    exit 0
fi

[ "$(uname -s)" = Linux ] || fail "this runs on Linux alone; in another system use a Linux machine or container."
case $(getconf GNU_LIBC_VERSION 2>/dev/null || true) in
    glibc*) ;;
    *) fail "this system's C library is not glibc (Alpine?): Ray and the servers come as wheels for glibc alone." ;;
esac
case $(uname -m) in
    x86_64 | aarch64) ;;
    *) fail "there are no wheels of the servers for $(uname -m): x86_64 and aarch64 work." ;;
esac

# Version managers put commands on PATH that only say "not installed": so each is tried.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}
# Every Python on PATH, in its order, the name that says most first.
candidates() (
    IFS=:
    for name in python3.11 python3.12 python3.13 python3 python; do
        for folder in $PATH; do
            if [ -x "$folder/$name" ]; then printf '%s\n' "$folder/$name"; fi
        done
    done
)
# The best of some runs of what our processes do most: calls, small objects, dictionaries.
speed_us() {
    "$1" -c '
import time
def run(count):
    kept = {}
    for number in range(count):
        name = str(number)
        kept[name] = (number, name)
        if (kept[name][0] + len(name)) % 3 == 0:
            kept.pop(name)
def once():
    started = time.process_time()
    run(20000)
    return time.process_time() - started
print(int(min(once() for _ in range(7)) * 1e6) + 1)'
}
found=
if [ -n "${PYTHON:-}" ]; then
    fits "$PYTHON" || fail "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13."
    found=$PYTHON
else
    # Version managers often build without profile-guided optimization, which costs a third of the speed
    # (measured: 0.25 s against 0.18 s for the same loop). So of all that fit, the first is taken unless
    # another one is clearly faster.
    found_us=
    for candidate in $(candidates); do
        fits "$candidate" && "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1 || continue
        candidate_us=$(speed_us "$candidate")
        if [ -z "$found" ] || [ $((candidate_us * 6)) -lt $((found_us * 5)) ]; then
            found=$candidate
            found_us=$candidate_us
        fi
    done
    # None has all that is needed: take one that fits, to say below what it lacks.
    for candidate in $(candidates); do
        if [ -z "$found" ] && fits "$candidate"; then found=$candidate; fi
    done
    [ -n "$found" ] || fail "no Python 3.11, 3.12 or 3.13 on PATH. Install one, or name it: make PYTHON=/path/to/python3.12 ..."
fi
"$found" -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "$found has no venv or no pip. On Debian and Ubuntu: apt-get install python3-venv"

# Runs a step with its output in the log, tells how long it takes, and shows the log when it fails.
step() {
    title=$1
    shift
    printf '%s\n' "$title"
    "$@" >>"$LOG" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true; exit 130' INT TERM
    waited=0
    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        if [ $((waited % TICK_S)) -eq 0 ]; then
            printf '  ... %s s\n' "$waited"
        fi
    done
    if ! wait "$pid"; then
        tail -n 20 "$LOG" >&2
        fail "that failed; the whole output is in $LOG."
    fi
    trap - INT TERM
}

rm -f "$STAMP"
# A .venv that was moved names its old place in every script; one that was cut short has no pip.
if [ "$(cat "$VENV/.tallystick-path" 2>/dev/null || pwd -P)" != "$(pwd -P)" ] ||
    ! fits "$VENV/bin/python" || ! "$VENV/bin/python" -c 'import pip' >/dev/null 2>&1; then
    rm -rf "$VENV"
    mkdir -p "$VENV"
    step "Creating $VENV with $("$found" --version)" "$found" -m venv "$VENV"
fi
pwd -P >"$VENV/.tallystick-path"
pip() {
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 "$VENV/bin/python" -m pip "$@"
}
step "Installing $(grep -c '==' requirements.lock) packages: about 900 MB, one to two minutes the first time" \
    pip install --progress-bar off --require-hashes -r requirements.lock
step "Installing this checkout" \
    pip install --progress-bar off --no-deps --no-build-isolation -e . -e clients/python
wanted >"$STAMP"
