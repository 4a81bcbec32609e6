#!/usr/bin/env bash
# A virtual host of RabbitMQ for Nexus alone, and two users in it, each with no more than it needs.
#
#     RABBITMQ_PASSWORD=… RABBITMQ_WEB_PASSWORD=… deploy/rabbitmq_roles.sh [virtual host]
#
# nexus      declares, reads and writes the queues of Nexus and of its Celery worker: for workers and relay
# nexus-web  publishes to the exchange of Nexus and to nothing else: for web processes
#
# RABBITMQCTL is the command to use ("rabbitmqctl"); NEXUS_QUEUE_PREFIX as in the settings.
set -euo pipefail

host=${1:-nexus}
ctl=${RABBITMQCTL:-rabbitmqctl}
prefix=$(sed 's/[.]/\\./g' <<< "${NEXUS_QUEUE_PREFIX:-}")
: "${RABBITMQ_PASSWORD:?a password for the user nexus}" "${RABBITMQ_WEB_PASSWORD:?a password for the user nexus-web}"

user() {  # name, password, configure, write, read; passwords come over standard input, where no list of processes shows them
    printf '%s\n' "$2" | $ctl add_user "$1" 2> /dev/null || printf '%s\n' "$2" | $ctl change_password "$1"
    $ctl set_user_tags "$1"
    $ctl set_permissions --vhost "$host" "$1" "$3" "$4" "$5"
}

$ctl list_vhosts --quiet name | grep -qxF "$host" || $ctl add_vhost "$host"

own="${prefix}nexus(\\..*)?"
celery="celeryev.*|celery_delayed_.*|(.*\\.)?celery\\.pidbox"  # events, delays and remote control of Celery's workers
user nexus "$RABBITMQ_PASSWORD" "^($own|$celery)$" "^($own|$celery|amq\\.default)$" "^($own|$celery)$"
user nexus-web "$RABBITMQ_WEB_PASSWORD" '^$' "^(${prefix}nexus|amq\\.default)$" '^$'
