#!/usr/bin/env bash
# The check: style, types, layers, migrations, then the tests. Within ten minutes: the contracts on PostgreSQL, all others
# on SQLite, and none that is marked "whole". WHOLE=1, or arguments: every test on SQLite, and again on PostgreSQL.
# Usage: [WHOLE=1] scripts/test.sh [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
# What the surrounding shell configures is not what is tested.
unset DATABASE_URL BROKER_URL REDIS_URL DJANGO_SETTINGS_MODULE "${!NEXUS_@}"
unset PYTHONDONTWRITEBYTECODE  # hundreds of processes start, and each would compile everything
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()
unsteady=()

step() {  # name, command…
    echo "== $1"
    local began=$SECONDS
    if "${@:2}"; then
        echo "   ok, $((SECONDS - began)) s"
    else
        echo "   FAILED: $1"
        failed+=("$1")
    fi
}

AT_ONCE=(-n 2 --dist loadfile)  # each of the two processes has its own servers; much of a test is waiting for them
export TEST_PATIENCE=${TEST_PATIENCE:-3}  # two processes share the machine; a wait that ends well takes no longer
MAX_REPEATED=3
form=()
if [ -z "${WHOLE:-}" ] && [ $# -eq 0 ]; then form=(--short); fi
remembered=.pytest_cache/unsteady  # of the last run
touch "$work/unsteady"

tests() {  # vendor, arguments…
    TEST_DATABASE=$1 python -m pytest "${AT_ONCE[@]}" "${@:2}" < /dev/null 2>&1 | tee "$work/$1.out" && return 0
    # Tests with real servers and kills depend on the machine's load. A few that fail are run once more by themselves;
    # those that pass then are named, so that they can be mended.
    local names
    names=$(grep -E '^(FAILED|ERROR) tests/' "$work/$1.out" || true)
    if [ -z "$names" ] || [ "$(wc -l <<< "$names")" -gt "$MAX_REPEATED" ]; then return 1; fi
    echo "== once more, by themselves:"
    echo "$names"
    TEST_DATABASE=$1 python -m pytest "${@:2}" --last-failed < /dev/null 2>&1 | tee "$work/$1.again" || return 1
    # What passes alone and fails again in the other or in the next full run depends on its neighbours, not on the load.
    local again
    again=$(grep -Fxf <(names_of "$names") "$remembered" "$work/unsteady" 2> /dev/null | sed 's/^[^:]*://' | sort -u || true)
    names_of "$names" >> "$work/unsteady"
    if [ -n "$again" ]; then
        echo "== failed in two full runs, and passes only by itself:"
        echo "$again"
        return 1
    fi
    unsteady+=("$names")
}

names_of() {  # lines of pytest's summary
    sed -E 's/^(FAILED|ERROR) ([^ ]+).*/\2/' <<< "$1"
}

step "ruff check" ruff check --output-format concise .
step "ruff format" ruff format --check --output-format concise .
step "mypy" mypy
step "import layers" lint-imports --no-logo
step "migrations" env NEXUS_DATA_DIR="$work" python manage.py makemigrations --check --dry-run
step "bandit" bandit --quiet --recursive --configfile pyproject.toml messaging agents nexus_api nexus_live nexus_a2a nexus_tasks nexus_site scripts manage.py
step "advisories" python scripts/check_advisories.py
step "system checks" env NEXUS_DATA_DIR="$work" python manage.py check
step "tests on SQLite" tests sqlite "${form[@]}" "$@"
step "tests on PostgreSQL" tests postgres --database-only "${form[@]}" "$@"

[ ! -d .pytest_cache ] || cp "$work/unsteady" "$remembered"
echo
for vendor in sqlite postgres; do
    printf '%-9s %s\n' "$vendor" "$(grep -E '^=* ?.*(passed|failed|error|skipped|no tests ran).* in [0-9.]+s' "$work/$vendor.out" | tail -n 1 | tr -d '=')"
done
if [ ${#unsteady[@]} -gt 0 ]; then
    printf 'UNSTEADY (failed once, then passed): %s\n' "${unsteady[@]}"
fi
if [ ${#failed[@]} -gt 0 ]; then
    printf 'FAILED: %s\n' "${failed[@]}"
    exit 1
fi
[ ${#form[@]} -eq 0 ] || echo "The long tests, and each test on the other database: make test WHOLE=1"
echo "All checks passed in $SECONDS s."
