"""What operators do with keys. Each change renews the token, so that every process notices, and is audited."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import SigningKeyError
from messaging.models import (
    POLLED_STATES,
    WAITING_STATES,
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    DeliveryState,
    KeyState,
    Message,
    SigningChange,
    SigningExemption,
    SigningKey,
    SigningMode,
    SigningState,
    Verdict,
)
from messaging.security.access.patterns import agent_pattern_problem
from messaging.security.signatures import foreign, keys
from messaging.security.signatures.algorithms import Algorithm
from messaging.security.signatures.jws import encode_header
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.stored import PURPOSE, build_key, facts_of, open_secret, register_key
from messaging.workflows import life_cycle as workflows

CHUNK = 500


@contextmanager
def changing_keys(who: str, what: str, kid: str = "", detail: str = "") -> Iterator[None]:
    """A transaction that changes keys, of whichever kind: alone, audited, and noticed by every process."""
    with transaction.atomic():
        _lock()
        yield
        keys.renew_token()
        SigningChange.objects.create(at=timezone.now(), who=who[:200], what=what, kid=kid, detail=detail)
    keys.forget()


def _lock() -> None:
    """Let nobody else change keys until the transaction ends."""
    SigningState.objects.get_or_create(pk=1)
    SigningState.objects.select_for_update().get(pk=1)


def find_key(kid: str) -> SigningKey:
    """A key by its name.

    Raises:
        SigningKeyError: there is none.
    """
    found = SigningKey.objects.filter(pk=kid).first()
    if found is None:
        raise SigningKeyError(f"No key is named {kid!r}. manage.py nexus_keys list shows them.")
    return found


def create(*, signer: str, agents: str = "*", algorithm: str = "", who: str) -> SigningKey:
    """Make a key that does not sign yet.

    Args:
        signer: the process identity (NEXUS_SIGNER) that is to sign with it.
        agents: patterns of the agents that it may sign for, by commas.
        algorithm: Ed25519 or HS256; the setting's by default.
        who: for the audit.

    Raises:
        SigningKeyError: a pattern is none.
    """
    check_patterns(agents)
    row = build_key(signer, agents, Algorithm(algorithm or get_settings().signing_algorithm), KeyState.PENDING)
    with changing_keys(who, "created", row.kid, f"signer {signer}, agents {agents}"):
        row.save(force_insert=True)
    return row


def register(*, signer: str, agents: str, public: bytes, who: str) -> SigningKey:
    """Take the public half of a key whose private half is on its own host. It counts once it is activated.

    Raises:
        SigningKeyError: a pattern or the key is none, or it is registered already.
    """
    check_patterns(agents)
    row = register_key(signer, agents, public)
    with changing_keys(who, "registered", row.kid, f"signer {signer}, agents {agents}"):
        if any(bytes(known) == public for known in SigningKey.objects.values_list("public", flat=True)):
            raise SigningKeyError("This public key is registered already: manage.py nexus_keys list")
        row.save(force_insert=True)
    return row


def check_patterns(agents: str) -> None:
    """Refuse what is no list of patterns.

    Raises:
        SigningKeyError: names the pattern.
    """
    for pattern in agents.split(","):
        problem = agent_pattern_problem(pattern.strip()) if pattern.strip() != "*" else ""
        if problem:
            raise SigningKeyError(f"--agents: {problem}")


def activate(kid: str, *, who: str) -> SigningKey:
    """Sign with a key from now on. The one before verifies on: nothing in flight is refused.

    Raises:
        SigningKeyError: it is not one that waits.
    """
    with changing_keys(who, "activated", kid):
        row = find_key(kid)
        if row.state != KeyState.PENDING:
            raise SigningKeyError(f"The key {kid} is {row.state}. Only a pending one can be activated.")
        now = timezone.now()
        SigningKey.objects.filter(signer=row.signer, state=KeyState.ACTIVE).update(
            state=KeyState.RETIRED, retired_at=now
        )
        SigningKey.objects.filter(pk=kid).update(state=KeyState.ACTIVE, activated_at=now)
    return find_key(kid)


def rotate(signer: str, *, who: str, expected: str = "") -> SigningKey:
    """Make a key like the active one and sign with it, in one transaction.

    Args:
        signer: whose key.
        who: for the audit.
        expected: the key that is to be replaced; nothing is done when another one signs by now. Empty for any.

    Returns:
        The key that signs.

    Raises:
        SigningKeyError: the signer has no active key, or its private half is elsewhere.
    """
    with transaction.atomic():
        _lock()
        old = SigningKey.objects.filter(signer=signer, state=KeyState.ACTIVE).first()
        if old is None:
            raise SigningKeyError(
                f"{signer!r} has no active key. Make one: manage.py nexus_keys create --signer {signer}"
            )
        if expected and old.kid != expected:
            return old
        if not old.sealed:
            raise SigningKeyError(
                f"The private half of {old.kid} is on its own host. Make the next one there (nexus_keys generate), put "
                "it before the old one in NEXUS_SIGNING_KEY_FILE, then register and activate its public half."
            )
        new = create(signer=signer, agents=old.agents, algorithm=old.algorithm, who=who)
        made = activate(new.kid, who=who)
    keys.forget()
    return made


def expire(kid: str, *, who: str) -> int:
    """End the overlap of a retired key: what is in flight is written down and stays valid, nothing else of it is.

    Returns:
        How many messages are in flight.

    Raises:
        SigningKeyError: it is not retired.
    """
    with changing_keys(who, "expired", kid, "what is in flight goes on"):
        row = find_key(kid)
        if row.state != KeyState.RETIRED:
            raise SigningKeyError(f"The key {kid} is {row.state}. Only a retired one can expire.")
        SigningKey.objects.filter(pk=kid).update(state=KeyState.EXPIRED, expired_at=timezone.now())
        flying = messages_in_flight(signed_with(row))
        exempt(kid, flying)
        return len(flying)


def retire(kid: str, *, who: str) -> SigningKey:
    """Sign no more with a key, without another one in its place. It verifies what it signed."""
    with changing_keys(who, "retired", kid):
        row = find_key(kid)
        if row.state not in (KeyState.ACTIVE, KeyState.PENDING):
            raise SigningKeyError(f"The key {kid} is {row.state}. Only an active or pending one can be retired.")
        SigningKey.objects.filter(pk=kid).update(state=KeyState.RETIRED, retired_at=timezone.now())
    return find_key(kid)


def revoke(kid: str, *, park: bool, who: str) -> tuple[int, list[UUID]]:
    """Accept nothing of a key that is stored from now on.

    What is in flight now is written down by the digest of its bytes and stays valid: the order of the log decides, not
    the time that a message claims.

    Args:
        kid: of the key. Have another one active before, and processes time to notice (``keys.REMEMBER``).
        park: stop the workflows of what is in flight, so that an operator looks at them before they go on.
        who: for the audit.

    Returns:
        How many messages are in flight, and the workflows that were parked.
    """
    with changing_keys(who, "revoked", kid, "parking what is in flight" if park else "letting go on what is in flight"):
        row = find_key(kid)
        if row.state == KeyState.REVOKED:
            raise SigningKeyError(f"The key {kid} is revoked already.")
        SigningKey.objects.filter(pk=kid).update(state=KeyState.REVOKED, revoked_at=timezone.now())
        flying = messages_in_flight(signed_with(row))
        parked: list[UUID] = []
        if park:
            # In this transaction, so that nothing of it is handled as exempt before its workflow is parked. Locked
            # first: what was handled until then is not in flight any more.
            log.lock_workflows(_workflows_of(flying), wait=True)
            flying = messages_in_flight(signed_with(row))
            reason = f"The signing key {kid} was revoked. Look at what is in flight, then resume or cancel."
            parked = workflows.park_all(sorted(_workflows_of(flying)), reason)
        exempt(kid, flying)
    return len(flying), parked


def raise_mode(mode: SigningMode, *, who: str) -> None:
    """Record a stricter mode. What is in flight without a signature when enforcing begins stays valid."""
    with changing_keys(who, "mode", detail=mode.value):
        state = SigningState.objects.get(pk=1)
        if SigningMode(state.mode).strictness >= mode.strictness:
            return
        if mode is SigningMode.ENFORCE:
            exempt("", messages_in_flight(""))
        SigningState.objects.filter(pk=1).update(mode=mode, mode_since=timezone.now())


def lower_mode(mode: SigningMode, *, who: str, reason: str) -> None:
    """Record a laxer mode: only an operator does so, and the audit says who, and why."""
    with changing_keys(who, "mode", detail=f"lowered to {mode.value}: {reason}"):
        SigningState.objects.filter(pk=1).update(mode=mode, mode_since=timezone.now())


def reseal(*, who: str) -> int:
    """Bring every key under the current master key. Returns how many there are.

    Raises:
        SigningKeyError: one does not open, or is not certified; nothing was changed.
    """
    vault = get_vault()
    rows = list(SigningKey.objects.order_by("pk"))
    with changing_keys(who, "resealed", detail=f"{len(rows)} keys"):
        foreign.certify_anew()
        for row in rows:
            known = keys.know(row)
            if known.problem:
                raise SigningKeyError(f"The key {row.kid} stays as it is, and so do all: {known.problem}")
            secret = open_secret(row) if row.sealed else b""
            sealed = vault.seal(secret, [row.signer, row.kid, PURPOSE])
            row.sealed, row.master = sealed.data if row.sealed else b"", sealed.master
            row.certificate = vault.certify(facts_of(row))
            row.save(update_fields=["sealed", "master", "certificate"])
    return len(rows)


def signed_with(row: SigningKey) -> str:
    """What every signature of a key begins with."""
    encoded = encode_header(Algorithm(row.algorithm), row.kid)
    return encoded[: len(encoded) - 4]  # behind the key's name a group's header goes on


def messages_in_flight(signature: str) -> list[UUID]:
    """Messages with such a beginning of their signature (empty: without one) that may still be handled."""
    unsettled = Delivery.objects.filter(state__in=POLLED_STATES).values_list("message_id", flat=True)
    # Through their verdicts: the index of what is polled does not hold them.
    quarantined = Verdict.objects.filter(state__in=WAITING_STATES, delivery__state=DeliveryState.QUARANTINED)
    dead = DeadLetter.objects.filter(status=DeadLetterStatus.OPEN, delivery__isnull=False)
    ids = sorted(
        {
            *unsettled,
            *quarantined.values_list("delivery__message_id", flat=True),
            *dead.values_list("delivery__message_id", flat=True),
        }
    )
    wanted = {"signature__startswith": signature} if signature else {"signature": ""}
    found: list[UUID] = []
    for start in range(0, len(ids), CHUNK):
        found += Message.objects.filter(pk__in=ids[start : start + CHUNK], **wanted).values_list("pk", flat=True)
    return found


def _workflows_of(messages: Sequence[UUID]) -> set[UUID]:
    found: set[UUID] = set()
    for start in range(0, len(messages), CHUNK):
        chosen = Message.objects.filter(pk__in=messages[start : start + CHUNK])
        found.update(chosen.order_by().values_list("workflow_id", flat=True))
    return found


def exempt(kid: str, messages: Sequence[UUID]) -> None:
    """Write down what stays valid without its key."""
    for start in range(0, len(messages), CHUNK):
        rows = Message.objects.filter(pk__in=messages[start : start + CHUNK]).values_list("pk", "envelope")
        SigningExemption.objects.bulk_create(
            [
                SigningExemption(kid=kid, message=message, digest=sha256(bytes(envelope)).hexdigest())
                for message, envelope in rows
            ],
            ignore_conflicts=True,
        )
