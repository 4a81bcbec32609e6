#!/usr/bin/env bash
# Makes sure that the programs are there which the tests and benchmarks run private copies of. Installs them when it
# may (Debian or Ubuntu, as root); otherwise says what to install.
set -euo pipefail

missing=()
[ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || [ -n "${RABBITMQ_HOME:-}" ] || command -v rabbitmq-server > /dev/null \
    || missing+=(rabbitmq-server)
compgen -G "/usr/lib/postgresql/*/bin/initdb" > /dev/null || command -v initdb > /dev/null || missing+=(postgresql)
command -v redis-server > /dev/null || missing+=(redis-server)
command -v pgbouncer > /dev/null || [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "These programs are missing: ${missing[*]}" >&2
    echo "The tests run private copies of them, on free ports and in temporary folders. On Debian or Ubuntu:" >&2
    echo "    sudo apt-get install ${missing[*]}" >&2
    echo "The system-wide services that these packages bring are not used and may be stopped and disabled." >&2
    exit 1
fi

echo "Installing ${missing[*]} …"
# Only the programs are wanted: 101 tells the packages not to start their services now.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
log=$(mktemp)
install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 "${missing[@]}" > "$log" 2>&1 < /dev/null
}
if ! install; then
    echo "Updating the package lists …"
    apt-get update -q -o Acquire::Retries=3 >> "$log" 2>&1 || true
    if ! install; then
        tail -n 30 "$log" >&2
        echo "apt-get could not install: ${missing[*]}" >&2
        exit 1
    fi
fi
rm -f "$log"
echo "Installed. Their system-wide services were not started; they may start at the next boot of this machine."
