"""Programs outside that may send: whose key is registered, for which agents it speaks, and whether it still does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from messaging.core.errors import SigningKeyError
from messaging.core.names import is_agent_name
from messaging.models import ForeignSender, SigningChange
from messaging.security.access.patterns import agent_pattern_problem, matcher
from messaging.security.signatures.algorithms import Algorithm, VerifyingPart
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.public_keys import read_public_key

PURPOSE = "speak from outside"
DEFAULT_RATE = 100.0
LEAST_RATE, MOST_RATE = 0.1, 10_000.0
"""Events a second. What waits for its turn must be done before RabbitMQ takes it back, after half an hour."""


@dataclass(frozen=True, slots=True)
class KnownSender:
    """A registered program as this process can use it.

    Args:
        name: the kid in its signatures.
        agents: matches the names that it may speak for.
        part: verifies.
        starts_workflows, rate: see ``register``.
        revoked: whether nothing of it is accepted any more.
        problem: why its row cannot be used; empty when it can.
        elsewhere: the master key that could tell is missing here, so nothing is decided about its events.
    """

    name: str
    agents: tuple[Callable[[str], bool], ...]
    part: VerifyingPart
    starts_workflows: bool
    rate: float
    revoked: bool
    problem: str
    elsewhere: bool

    def may_speak_for(self, agent: str) -> bool:
        """Whether it may be an event's source."""
        return any(matches(agent) for matches in self.agents)


def register(
    name: str,
    public_key: str,
    agents: str,
    *,
    starts_workflows: bool = True,
    rate: float = DEFAULT_RATE,
    who: str,
) -> ForeignSender:
    """Let a program outside send. Arguments and errors: see ``prepare``; ``who`` is for the audit."""
    row = prepare(name, public_key, agents, starts_workflows=starts_workflows, rate=rate)
    with transaction.atomic():
        if ForeignSender.objects.filter(pk=name).exists():
            raise SigningKeyError(
                f"{name!r} is registered already. A new key, or other agents, get a name of their own; revoke this one "
                "once its events have arrived."
            )
        row.save(force_insert=True)
        _audit(who, "foreign registered", name, f"agents {row.agents}, key {bytes(row.public).hex()}")
    return row


def prepare(
    name: str, public_key: str, agents: str, *, starts_workflows: bool = True, rate: float = DEFAULT_RATE
) -> ForeignSender:
    """A registration that is not stored yet.

    Args:
        name: what it puts as ``kid`` into its signatures.
        public_key: Ed25519, as PEM or JWK.
        agents: patterns of the agents that it may speak for, by commas.
        starts_workflows: whether a name of a workflow that it did not use before starts one.
        rate: events a second that are taken of it.

    Raises:
        SigningKeyError: something of this cannot be.
    """
    patterns = [pattern.strip() for pattern in agents.split(",")]
    if not is_agent_name(name) or len(name) > 64:
        raise SigningKeyError(f"{name[:80]!r} is no name for a sender: a-z, 0-9, '.', '_' and '-', at most 64 of them.")
    for pattern in patterns:
        problem = agent_pattern_problem(pattern)
        if problem or not pattern.strip("*"):
            raise SigningKeyError(problem or "A program outside may not speak for every agent. Name those of its own.")
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise SigningKeyError(f"The rate is {rate}; from {LEAST_RATE} to {MOST_RATE:.0f} events a second can be.")
    row = ForeignSender(
        name=name,
        agents=",".join(patterns),
        public=read_public_key(public_key),
        starts_workflows=starts_workflows,
        rate=float(rate),
        created_at=timezone.now(),
    )
    certify(row)
    return row


def revoke(name: str, *, who: str) -> None:
    """Store nothing of a program from now on. What is stored already is the installation's own.

    Raises:
        SigningKeyError: there is no such program, or it is revoked already.
    """
    with transaction.atomic():
        row = ForeignSender.objects.select_for_update().filter(pk=name).first()
        if row is None:
            raise SigningKeyError(f"No program {name!r} is registered. manage.py nexus_keys list-foreign shows them.")
        if row.revoked_at is not None:
            raise SigningKeyError(f"The program {name!r} is revoked already.")
        ForeignSender.objects.filter(pk=name).update(revoked_at=timezone.now())
        _audit(who, "foreign revoked", name, "")


def find_senders(names: Collection[str], *, lock: bool = False) -> dict[str, KnownSender]:
    """The registered programs among names, revoked ones too.

    Args:
        names: as their signatures claim.
        lock: keep them as they are until the transaction that is open ends.
    """
    wanted = ForeignSender.objects.filter(pk__in=names).order_by("pk")
    return {row.name: know(row) for row in (wanted.select_for_update() if lock else wanted)}


def know(row: ForeignSender) -> KnownSender:
    """Make of a row what this process can use."""
    problem, elsewhere = "", False
    try:
        vault = get_vault()
        if not vault.knows(row.master):
            problem, elsewhere = f"this process does not have the master key {row.master}; see NEXUS_MASTER_KEY", True
        elif not vault.certified(row.master, facts_of(row), bytes(row.certificate)):
            problem = "its row was not written by a holder of the master key"
    except SigningKeyError as error:
        problem, elsewhere = str(error), True
    return KnownSender(
        row.name,
        tuple(matcher(pattern) for pattern in row.agents.split(",")),
        VerifyingPart.load(Algorithm.ED25519, bytes(row.public).ljust(32, b"\0")[:32]),
        row.starts_workflows,
        row.rate,
        row.revoked_at is not None,
        problem,
        elsewhere,
    )


def certify(row: ForeignSender) -> None:
    """Vouch for a row with the current master key."""
    vault = get_vault()
    row.certificate = vault.certify(facts_of(row))
    row.master = vault.seal(b"", [row.name]).master  # what is sealed says which master key certifies


def certify_anew() -> None:
    """Bring every row under the current master key, in the transaction that is open.

    Raises:
        SigningKeyError: one is not certified.
    """
    for row in ForeignSender.objects.select_for_update().order_by("pk"):
        problem = know(row).problem
        if problem:
            raise SigningKeyError(f"The program {row.name!r} stays as it is, and so does everything: {problem}")
        certify(row)
        row.save(update_fields=["master", "certificate"])


def facts_of(row: ForeignSender) -> list[str]:
    """What a row's certificate vouches for."""
    starts = "starts workflows" if row.starts_workflows else "starts none"
    return ["foreign sender", row.name, PURPOSE, row.agents, bytes(row.public).hex(), starts, repr(float(row.rate))]


def _audit(who: str, what: str, name: str, detail: str) -> None:
    SigningChange.objects.create(at=timezone.now(), who=who[:200], what=what, kid=name, detail=detail)
