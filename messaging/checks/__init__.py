"""System checks: an unsafe configuration is refused, with an id and the fix, before it can lose anything.

=========  =============================================================  ==============
id         refuses                                                        runs with
=========  =============================================================  ==============
nexus.E001 settings that cannot be read                                   every check
nexus.E002 publishing without confirms                                    every check
nexus.E003 a classic queue                                                every check
nexus.E004 a queue without a place for its dead letters                   every check
nexus.E005 a queue that exists on the broker with other arguments         nexus_broker
nexus.E006 SQLite beside RabbitMQ in production                           every check
nexus.E007 the default SECRET_KEY outside embedded mode                   every check
nexus.E008 processed-IDs that expire while duplicates can still arrive    every check
nexus.E009 Celery settings that end workers                                every check
nexus.E010 SQLite before 3.35                                             every check
nexus.E011 PostgreSQL before 14                                           nexus_database
nexus.E012 another database                                               every check
nexus.E013 times and sizes that contradict each other                     every check
nexus.E014 a worker that would consume no queue                           every check
nexus.E015 Celery accepting pickled tasks                                 every check
nexus.E016 RabbitMQ before 3.10                                           nexus_broker
nexus.E017 tables that are missing or out of date                         nexus_tables
nexus.E019 another package called messaging or agents                       every check
nexus.E020 transactions that do not read what is committed                every check
nexus.E021 rules for content or verification that cannot work             every check
nexus.E022 a two-phase commit over a database that cannot take part       every check
nexus.E023 a server that keeps no prepared transactions                   nexus_database
nexus.E024 enforcing signatures beside workers that do not sign            nexus_tables
nexus.E026 types to encrypt without the package that encrypts             every check
nexus.E027 partitions on a broker without single active consumers         every check
nexus.W001 DEBUG beside RabbitMQ                                          every check
nexus.W002 a broker that cannot be reached                                nexus_broker
nexus.W003 a database that cannot be reached                              nexus_database
nexus.W004 batches that are never full                                    every check
nexus.W005 SQLite transactions that begin without the write lock          every check
nexus.W006 a Celery app whose workers handle no messages                  every check
nexus.W007 a group that has an agent's name                               nexus_tables
nexus.W008 a two-phase commit through a pooler of transactions            every check
nexus.W009 workers that disagree about signatures                         nexus_tables
nexus.W010 partitions that are left of an earlier setting                 nexus_broker
=========  =============================================================  ==============

"Every check" is ``manage.py check``, and whatever command of Django runs the checks first. The others ask servers:
``manage.py check --deploy`` runs them too, and ``manage.py check --deploy --tag nexus_broker`` nothing else. A worker
runs all of them when it starts, and does not start when one finds an error. ``SILENCED_SYSTEM_CHECKS`` silences an id.
"""

from __future__ import annotations

from django.core.checks import register

from messaging.checks.broker import check_broker
from messaging.checks.celery import (
    check_accepted_content,
    check_celery_broker,
    check_installed,
    check_operators_tasks,
)
from messaging.checks.database import (
    check_engine,
    check_isolation,
    check_server_isolation,
    check_server_version,
    check_tables,
)
from messaging.checks.encryption import check_encryption
from messaging.checks.names import check_names
from messaging.checks.packages import check_agents_package
from messaging.checks.rules import check_rules
from messaging.checks.settings import (
    check_consumed_queues,
    check_debug,
    check_dedup_ttl,
    check_limits,
    check_partitions,
    check_secret_key,
    check_settings,
)
from messaging.checks.signing import check_agreement
from messaging.checks.topology import check_dead_lettering
from messaging.checks.two_phase import check_participants, check_prepared_transactions

STATIC_TAG, BROKER_TAG, DATABASE_TAG, TABLES_TAG = "nexus", "nexus_broker", "nexus_database", "nexus_tables"

STATIC_CHECKS = (
    check_agents_package,
    check_settings,
    check_rules,
    check_secret_key,
    check_debug,
    check_dedup_ttl,
    check_limits,
    check_consumed_queues,
    check_partitions,
    check_installed,
    check_celery_broker,
    check_dead_lettering,
    check_operators_tasks,
    check_accepted_content,
    check_engine,
    check_isolation,
    check_participants,
    check_encryption,
)

SERVER_CHECKS = (
    (check_server_version, DATABASE_TAG),
    (check_server_isolation, DATABASE_TAG),
    (check_prepared_transactions, DATABASE_TAG),
    (check_tables, TABLES_TAG),
    (check_names, TABLES_TAG),
    (check_agreement, TABLES_TAG),
    (check_broker, BROKER_TAG),
)


def _register_all() -> None:
    for static in STATIC_CHECKS:
        register(static, STATIC_TAG)
    for check, tag in SERVER_CHECKS:
        register(check, tag, deploy=True)


_register_all()
