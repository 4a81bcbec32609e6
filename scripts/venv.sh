#!/usr/bin/env bash
# Makes .venv with the pinned packages; does nothing when it is complete and up to date.
# Usage: scripts/venv.sh runtime|dev        PYTHON=python3.12 chooses the interpreter
#        LOCKED=1: the runtime packages, from requirements.lock: only files with these hashes
set -euo pipefail
cd "$(dirname "$0")/.."

kind=${1:?usage: scripts/venv.sh runtime|dev}
venv=.venv
complete=$venv/.complete   # written last: without it an earlier run was interrupted

find_python() {
    local name
    for name in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed; tried: ${PYTHON:-python3 python3.13 python3.12 python3.11}." >&2
    echo "Install one (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv), or name it: make … PYTHON=/path/to/python3.12" >&2
    exit 1
}

digest() {
    "$python" -c 'import hashlib, sys
print(hashlib.sha256(sys.argv[1].encode() + b"".join(open(name, "rb").read() for name in sys.argv[2:])).hexdigest())' "$@"
}

python=$(find_python)
base="base $(digest "$("$python" -VV) $PWD")"
runtime="runtime $(digest "" requirements.txt)"
dev="dev $(digest "" requirements.txt requirements-dev.txt)"

has() { [ -f "$complete" ] && grep -qxF "$1" "$complete"; }

if [ "$kind" = dev ]; then
    wanted=$dev requirements=requirements-dev.txt
else
    wanted=$runtime requirements=requirements.txt
    if [ "${LOCKED:-}" = 1 ]; then
        wanted="locked $(digest "" requirements.lock)" requirements=requirements.lock
    fi
fi
if has "$base" && { has "$wanted" || has "$dev"; } && "$venv/bin/python" -c '' 2> /dev/null; then
    exit 0  # The development packages contain the runtime ones.
fi

if ! has "$base" || ! "$venv/bin/python" -c '' 2> /dev/null; then
    if [ -L "$venv" ]; then  # clearing it would empty the folder of somebody else
        echo "$venv is a link to $(readlink -f "$venv"), which was made for another folder or other packages. It is not" >&2
        echo "touched. Remove the link to have a venv made here, or run the programs in it without make." >&2
        exit 1
    fi
    echo "Making $venv with $("$python" --version) …"
    if ! output=$("$python" -m venv --clear "$venv" 2>&1); then
        echo "$output" >&2
        echo "The venv could not be made (on Debian and Ubuntu it needs: apt-get install python3-venv)." >&2
        exit 1
    fi
fi
if [ -L "$venv" ]; then
    echo "$venv is a link to $(readlink -f "$venv"), and packages of $requirements are missing there. It is not touched." >&2
    exit 1
fi
locked=()
if [ "$requirements" = requirements.lock ]; then locked=(--require-hashes); fi
rm -f "$complete"
echo "Installing the packages of $requirements (up to a minute) …"
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-input --retries 5 --timeout 30 \
    ${locked[@]+"${locked[@]}"} -r "$requirements"
printf '%s\n' "$base" "$wanted" > "$complete"
