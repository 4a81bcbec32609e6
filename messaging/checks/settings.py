"""Checks of the settings of Nexus and of Django."""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning

from messaging.brokers import BrokerKind
from messaging.conf import NexusSettings, get_settings
from messaging.core.errors import ConfigurationError
from messaging.core.registry import WORKER_KINDS
from messaging.transport.current import get_broker, get_kind

MIN_LEASE = 3.0


def readable_settings() -> NexusSettings | None:
    """The settings, or None where they cannot be read, which ``check_settings`` reports."""
    try:
        return get_settings()
    except ConfigurationError:
        return None


def server_kind() -> BrokerKind | None:
    """The kind of broker, if other hosts can take part; None in embedded mode and where the settings cannot be read."""
    kind = get_kind() if readable_settings() is not None else None
    return kind if kind is not None and kind.needs_server else None


def _error(number: int, problem: str, fix: str) -> CheckMessage:
    return Error(problem, hint=fix, id=f"nexus.E{number:03}")


def check_settings(**_: Any) -> list[CheckMessage]:
    """E001: the settings can be read and name a broker."""
    try:
        get_broker()
    except ConfigurationError as error:
        return [
            _error(1, str(error), "Correct NEXUS_… or BROKER_URL in the environment; docs/configuration.md lists them.")
        ]
    return []


def check_secret_key(**_: Any) -> list[CheckMessage]:
    """E007: sessions and tokens are signed with a key of this installation."""
    if server_kind() is None:
        return []
    if getattr(django_settings, "DEFAULT_SECRET_KEY", "") != django_settings.SECRET_KEY:
        return []
    return [
        _error(
            7,
            "SECRET_KEY is the default one, which everybody knows: anybody can forge a session.",
            'Set SECRET_KEY in the environment, the same for all processes: python -c "import secrets; '
            'print(secrets.token_urlsafe(50))"',
        )
    ]


def check_debug(**_: Any) -> list[CheckMessage]:
    """W001: error pages show settings and data."""
    kind = server_kind()
    if kind is None or not django_settings.DEBUG:
        return []
    return [
        CheckWarning(
            f"DEBUG is on beside {kind.title}: error pages show settings and data, and processes remember every query.",
            hint="Unset DEBUG, unless this is a developer's machine.",
            id="nexus.W001",
        )
    ]


def check_dedup_ttl(**_: Any) -> list[CheckMessage]:
    """E008: a processed-ID outlives every way in which its message can arrive again."""
    settings = readable_settings()
    if settings is None or settings.dedup_ttl >= settings.shortest_safe_dedup_ttl:
        return []
    return [
        _error(
            8,
            f"DEDUP_TTL is {settings.dedup_ttl:g} s, but a message can arrive again up to "
            f"{settings.shortest_safe_dedup_ttl:g} s after it was handled, and would be handled twice.",
            f"Set NEXUS_DEDUP_TTL to {settings.shortest_safe_dedup_ttl:.0f} or more, or lower NEXUS_REPLAY_HORIZON, "
            "NEXUS_GAP_TIMEOUT, NEXUS_RETRY_CAP or NEXUS_MAX_ATTEMPTS.",
        )
    ]


def check_limits(**_: Any) -> list[CheckMessage]:
    """E013: times and sizes fit together."""
    settings = readable_settings()
    if settings is None:
        return []
    rules = (
        (
            settings.lease_seconds < MIN_LEASE,
            f"LEASE_SECONDS is {settings.lease_seconds:g}: leases would end between two renewals, and "
            "slow handlers run twice.",
            f"Set NEXUS_LEASE_SECONDS to {MIN_LEASE:g} or more.",
        ),
        (
            settings.redelivery_after < settings.publish_grace,
            f"REDELIVERY_AFTER ({settings.redelivery_after:g} s) is shorter than PUBLISH_GRACE "
            f"({settings.publish_grace:g} s): messages would be published again before they could be handled.",
            "Set NEXUS_REDELIVERY_AFTER higher than NEXUS_PUBLISH_GRACE.",
        ),
        (
            settings.relay_interval >= settings.relay_lease,
            f"RELAY_INTERVAL ({settings.relay_interval:g} s) is not shorter than RELAY_LEASE "
            f"({settings.relay_lease:g} s): the relay would lose its lead between two turns.",
            "Set NEXUS_RELAY_LEASE to ten times NEXUS_RELAY_INTERVAL.",
        ),
        (
            settings.retry_base > settings.retry_cap,
            f"RETRY_BASE ({settings.retry_base:g} s) is longer than RETRY_CAP ({settings.retry_cap:g} s): "
            "no retry could be planned.",
            "Set NEXUS_RETRY_CAP higher than NEXUS_RETRY_BASE.",
        ),
    )
    found = [_error(13, problem, fix) for broken, problem, fix in rules if broken]
    if settings.prefetch < settings.batch_size:
        found.append(
            CheckWarning(
                f"PREFETCH ({settings.prefetch}) is smaller than BATCH_SIZE ({settings.batch_size}), so none is full.",
                hint="Set NEXUS_PREFETCH to twice NEXUS_BATCH_SIZE.",
                id="nexus.W004",
            )
        )
    return found


def check_partitions(**_: Any) -> list[CheckMessage]:
    """E027: queues are divided only where a partition can have a single active consumer."""
    settings = readable_settings()
    kind = get_kind() if settings is not None else None
    if settings is None or kind is None or settings.queue_partitions == 1 or kind.single_active_consumers:
        return []
    return [
        _error(
            27,
            f"QUEUE_PARTITIONS is {settings.queue_partitions}, but {kind.title} has no single active consumers: "
            "dividing its queue would only cost.",
            "Unset NEXUS_QUEUE_PARTITIONS, or use RabbitMQ (BROKER_URL).",
        )
    ]


def check_consumed_queues(**_: Any) -> list[CheckMessage]:
    """E014: every name in CONSUME is a queue's."""
    settings = readable_settings()
    if settings is None:
        return []
    named = [name.strip() for name in settings.consume.split(",") if name.strip()]
    unknown = [name for name in named if name not in WORKER_KINDS]
    if named and not unknown and named == settings.consume.split(","):
        return []
    return [
        _error(
            14,
            f"CONSUME is {settings.consume!r}: a worker would leave queues unread that it is meant to consume.",
            f"Set NEXUS_CONSUME to one or more of {', '.join(WORKER_KINDS)}, joined by commas without spaces.",
        )
    ]
