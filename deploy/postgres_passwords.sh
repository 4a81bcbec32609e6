#!/usr/bin/env bash
# Passwords for the roles of deploy/postgres_roles.sql, from NEXUS_OWNER_PASSWORD and NEXUS_APP_PASSWORD. As often as you like.
#
#     NEXUS_OWNER_PASSWORD=… NEXUS_APP_PASSWORD=… deploy/postgres_passwords.sh [psql's arguments, such as a URL]
#
# In the container of postgres, which runs it once when its data folder is made, it connects as POSTGRES_USER.
set -euo pipefail
: "${NEXUS_OWNER_PASSWORD:?a password for nexus_owner}" "${NEXUS_APP_PASSWORD:?a password for nexus_app}"

[ $# -gt 0 ] || set -- --username "${POSTGRES_USER:-postgres}" --dbname "${POSTGRES_DB:-nexus}"
# \getenv (psql 14): passwords stand in no list of processes.
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 "$@" <<'SQL'
\getenv owner NEXUS_OWNER_PASSWORD
\getenv app NEXUS_APP_PASSWORD
ALTER ROLE nexus_owner PASSWORD :'owner';
ALTER ROLE nexus_app PASSWORD :'app';
SQL
