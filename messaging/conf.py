"""One typed, frozen, validated settings object.

Values come from Django's ``NEXUS`` dictionary; without one, Nexus runs in embedded mode.
``messaging.django_settings.environment_settings`` makes one of ``NEXUS_<NAME>`` variables.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import quote

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from messaging.core.describing import safe_repr
from messaging.core.encrypted_types import EncryptedTypes
from messaging.core.errors import ConfigurationError
from messaging.core.label_rules import LabelRules
from messaging.core.numbers import MAX_ATTEMPTS, MAX_SECONDS
from messaging.core.partitions import MAX_PARTITIONS

DAY = 86_400.0
MAX_COUNT = 2**31 - 1
MAX_BUNDLE = 64  # more are not read either
EMBEDDED_FILE = "transport.sqlite3"


@dataclass(frozen=True, slots=True, kw_only=True)
class NexusSettings:
    """Settings of Nexus. Times are in seconds."""

    broker_url: str = ""  # empty: the embedded broker, in data_dir
    data_dir: str = ""  # folder for files of embedded mode; empty: var in Django's BASE_DIR
    queue_prefix: str = ""  # put before the names of exchanges and queues, so that installations can share a broker
    saga_files: str = ""  # comma-separated YAML files that define sagas, read when one of them is asked for
    journal_checkpoints: str = ""  # file, best on another machine, to which the relay appends signed checkpoints
    agents: str = ""  # comma-separated modules that register agents, imported at start

    # bounds on what is taken in
    max_message_bytes: int = 262_144
    max_messages_per_workflow: int = 1_000_000
    max_backlog_per_mailbox: int = 100_000
    unknown_types: str = "allow"  # messages of types that have no schema
    verification_rules: str = ""  # what judges messages: a YAML file, "default" or "database"; empty: nothing
    content_rules: str = ""  # YAML file of what messages may carry; empty: the rules that come with Nexus
    labels: str = ""  # labels by sender and type, such as "sender:mailbox=origin:mail, type:web.*=origin:web"

    # signatures
    signing: str = "enforce"  # off, sign, report or enforce; never less than what the log says was in force
    signing_algorithm: str = "Ed25519"  # of new keys; HS256 is quicker, and lets every verifier forge
    signer: str = "nexus"  # the identity of this process: with whose keys it signs
    master_key: str = field(default="", repr=False)  # hexadecimal, over the private keys; empty: see master_key_file
    master_key_file: str = ""  # empty: made of SECRET_KEY, or in embedded mode a file in data_dir
    signing_key: str = field(default="", repr=False)  # hexadecimal: a private key that only this process has
    signing_key_file: str = ""  # the same in a file
    trusted_root: str = ""  # public half of the master key, for processes that must not have it
    key_vault: str = ""  # dotted name of what makes a KeyVault that asks a service outside; empty: a local one
    key_rotation_every: float = 90 * DAY  # the relay makes a new key for each identity so often
    key_overlap: float = 14 * DAY  # how long a key that signs no more verifies; what is in flight then stays valid

    # encryption
    encrypted_types: str = ""  # comma-separated types whose data are encrypted, such as "payment.card, medical.*"
    encryption: str = "enforce"  # accept: what comes in clear of these types is handled; for a deploy

    # publishing
    publish_timeout: float = 5.0  # for all confirms of a burst
    publish_grace: float = 3.0  # how long the writing process may take before the relay publishes a row
    queue_partitions: int = 1  # queues of transactional agents, each with a single active consumer; 1: one plain queue
    bundle_size: int = 8  # deliveries in one message of RabbitMQ at most; 1: each alone
    publish_queue: int = 20_000  # messages waiting for a process's publisher thread; beyond it the relay takes over

    breaker_failures: int = 5  # bursts that fail in a row, after which only the relay publishes
    breaker_reset: float = 2.0  # until the next burst may find out whether the broker works again

    # receiving
    consume: str = "transactional,leased"  # the queues of which kinds of agents a worker consumes
    batch_size: int = 100
    prefetch: int = 200
    local_delivery: str = "on"  # how workers handle what their own handlers send to their own agents: see CHOICES
    onward_seconds: float = 0.025  # how long a transaction handles what its own handlers send, too
    leased_concurrency: int = 32  # leased handlers running at once in one worker process
    lease_seconds: float = 30.0
    stuck_after: float = 300.0  # a handler of a transactional agent that takes longer ends its process
    drain_timeout: float = 10.0  # how long a stopping worker waits for running handlers

    # retries
    max_attempts: int = 5
    retry_base: float = 0.5
    retry_cap: float = 300.0

    # recovery
    relay_interval: float = 0.2
    relay_lease: float = 3.0
    redelivery_after: float = 10.0
    gap_timeout: float = 60.0
    failure_policy: str = "park"
    gap_policy: str = "park"
    dedup_ttl: float = 7 * DAY
    replay_horizon: float = 3 * DAY  # how long after its processing a message may still be replayed or arrive again
    late_after: float = 60.0  # health fails when a message has waited for longer
    prune_chunk: int = 5_000

    # what operators may do
    edit_and_replay: str = "off"  # whether people may change the data of a dead letter's message: on or off
    # the HTTP API
    api_rate: int = 600  # requests a minute of each token or user
    api_streams: int = 4  # requests that wait for something, at once in each process
    api_stream_seconds: float = 300.0  # after which a stream of events ends, and its client comes back
    api_idempotency_ttl: float = DAY  # how long an Idempotency-Key is remembered
    live_viewers: int = 1_000  # streams of live pages at once in each process (ASGI)
    live_link_life: float = 7 * DAY  # most that a link to a live page holds

    # A2A
    a2a_teams: str = ""  # comma-separated names of stored teams that agents outside may speak to
    a2a_card_key_file: str = ""  # PEM file of a P-256 key that signs agent cards too (ES256)

    # telling people
    degraded_dead_letters: int = 1  # health is degraded from so many open dead letters on
    degraded_parked: int = 1  # … and from so many parked workflows on
    alert_mail: str = ""  # comma-separated addresses that are told of dead letters and parked workflows
    alert_webhook: str = ""  # http(s) URL to which they are posted as JSON

    # monitoring
    metrics: str = "off"  # on: count for /metrics, in the transactions that are counted
    tracing: str = "off"  # on: OpenTelemetry, exported as its own OTEL_* variables say
    trace_sampling: float = 1.0  # the share of traces that are recorded, decided where each begins
    metrics_token: str = field(default="", repr=False)  # who shows it may read /metrics; empty: nobody but staff

    @property
    def label_rules(self) -> LabelRules:
        """``labels``, read."""
        return _label_rules(self.labels)

    @property
    def types_to_encrypt(self) -> EncryptedTypes:
        """``encrypted_types``, read."""
        return _encrypted_types(self.encrypted_types)

    @property
    def longest_retry(self) -> float:
        """Upper bound of the time that a delivery's retries take together."""
        return sum(min(self.retry_cap, self.retry_base * 2.0 ** min(n, 64)) for n in range(self.max_attempts))

    @property
    def shortest_safe_dedup_ttl(self) -> float:
        """A processed-ID must outlive every way in which its message can arrive again."""
        return self.longest_retry + self.gap_timeout + self.replay_horizon + self.redelivery_after


CHOICES = {
    "failure_policy": ("park", "skip"),
    "gap_policy": ("park", "skip", "resend"),
    "edit_and_replay": ("off", "on"),
    "unknown_types": ("allow", "warn", "refuse"),
    "signing": ("off", "sign", "report", "enforce"),
    "signing_algorithm": ("Ed25519", "HS256"),
    "encryption": ("enforce", "accept"),
    "local_delivery": ("on", "apart", "off"),  # in the same transaction; in the next; by the broker
    "metrics": ("off", "on"),
    "tracing": ("off", "on"),
}


_label_rules = functools.lru_cache(maxsize=16)(LabelRules.parse)
_encrypted_types = functools.lru_cache(maxsize=16)(EncryptedTypes.parse)


def _convert(name: str, value: Any, wanted: type) -> Any:
    shown = safe_repr(value)[:60]
    try:
        converted = wanted(value)
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(
            f"NEXUS[{name.upper()!r}]: expected {wanted.__name__}, got {shown}. "
            f"Correct the setting or NEXUS_{name.upper()}."
        ) from None
    if wanted in (int, float) and not 0 < converted <= _most(name, wanted):
        raise ConfigurationError(
            f"NEXUS[{name.upper()!r}]: expected a number above 0, at most {_most(name, wanted):.15g}, got {shown}."
        )
    if name in CHOICES and converted not in CHOICES[name]:
        raise ConfigurationError(f"NEXUS[{name.upper()!r}]: expected one of {', '.join(CHOICES[name])}, got {shown}.")
    if name == "labels":
        _label_rules(converted)
    if name == "encrypted_types":
        _encrypted_types(converted)
    if name == "alert_webhook" and converted and not converted.startswith(("https://", "http://")):
        raise ConfigurationError(f"NEXUS['ALERT_WEBHOOK']: expected an http or https URL, got {shown}.")
    if name == "alert_mail" and converted and not all("@" in address for address in converted.split(",")):
        raise ConfigurationError(f"NEXUS['ALERT_MAIL']: expected mail addresses joined by commas, got {shown}.")
    return converted


def _most(name: str, wanted: type) -> float:
    if name == "max_attempts":
        return MAX_ATTEMPTS
    if name == "bundle_size":
        return MAX_BUNDLE
    if name == "queue_partitions":
        return MAX_PARTITIONS
    if name == "trace_sampling":
        return 1.0
    return MAX_SECONDS if wanted is float else MAX_COUNT


def load(values: Mapping[str, Any], *, base: Path | None = None) -> NexusSettings:
    """Build the settings from upper-case names.

    Args:
        values: name → value; text is converted.
        base: to which a relative DATA_DIR belongs; None for the working directory.

    Raises:
        ConfigurationError: an unknown name (with the nearest known one) or a value of the wrong type.
    """
    types = get_type_hints(NexusSettings)
    known = {field.name.upper(): field.name for field in fields(NexusSettings)}
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(sorted(known))}."
            raise ConfigurationError(f"NEXUS[{key!r}] is not a setting.{hint}")
        chosen[known[key]] = _convert(known[key], value, types[known[key]])
    folder = (base or Path.cwd()) / (chosen.get("data_dir") or "var")
    chosen["data_dir"] = str(folder)
    chosen["broker_url"] = chosen.get("broker_url") or f"embedded://{quote(str(folder / EMBEDDED_FILE))}"
    return NexusSettings(**chosen)


@functools.cache
def get_settings() -> NexusSettings:
    """The settings of this process, read once (again after ``override_settings``)."""
    base = getattr(django_settings, "BASE_DIR", None)
    return load(getattr(django_settings, "NEXUS", {}), base=None if base is None else Path(base))


def _forget(*, setting: str, **_: Any) -> None:
    if setting == "NEXUS":
        get_settings.cache_clear()


setting_changed.connect(_forget)
