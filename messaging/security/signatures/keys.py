"""What this process knows of the stored keys: with which one it signs, and which ones verify.

Verifying asks in each batch whether the keys are still the same (one small statement), so that nothing is accepted
after a revocation. Signing remembers for ``REMEMBER`` seconds; ``changing.revoke`` waits for longer than that.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from uuid import UUID

from django.db import connection, transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.errors import BadSignature, MayNotSignFor, SigningKeyError
from messaging.models import KeyState, Message, SigningChange, SigningKey, SigningMode, SigningState
from messaging.security.access.patterns import matcher
from messaging.security.signatures import jws
from messaging.security.signatures.algorithms import Algorithm, SigningPart, VerifyingPart
from messaging.security.signatures.master import get_vault
from messaging.security.signatures.own import own_secrets
from messaging.security.signatures.stored import build_key, facts_of, open_secret
from messaging.security.signatures.trees import Leaf
from messaging.security.signatures.uses import count_use

logger = logging.getLogger("nexus.signing")

REMEMBER = 1.0
"""Seconds for which a process goes on signing with a key without asking for it."""

ASK_AGAIN = 5.0
"""Seconds after which a key that this process could not tell about is looked at again: a key service may be back."""

ENDED = (KeyState.REVOKED, KeyState.EXPIRED)
"""Of these only what is written down as in flight is accepted."""


@dataclass(slots=True)
class KnownKey:
    """A key as this process can use it.

    Args:
        kid, signer, state: of its row.
        agents: matches the names that it may sign for.
        part: verifies; None when it cannot be used here.
        problem: why not.
        elsewhere: the master key that could tell is missing here, so nothing is decided about its messages.
    """

    kid: str
    signer: str
    state: KeyState
    agents: tuple[Callable[[str], bool], ...]
    part: VerifyingPart | None
    problem: str = ""
    elsewhere: bool = False

    def may_sign_for(self, agent: str) -> bool:
        """Whether it may speak for an agent."""
        return any(matches(agent) for matches in self.agents)


@dataclass(frozen=True, slots=True)
class MessageSigner:
    """Signs the messages of this process.

    Args:
        key: whose name stands in the signatures.
        part: its private part.
    """

    key: KnownKey
    part: SigningPart

    def sign(self, body: bytes, to: str = "") -> str:
        """Sign an envelope's bytes; ``to`` is the digest of a group's routing."""
        count_use(self.key.kid, self.key.signer)
        return jws.sign(self.part, self.key.kid, body, to)

    def sign_all(self, messages: Sequence[Leaf]) -> list[str]:
        """Sign what is stored together: the bytes of envelopes, each with the digest of a group's routing or empty."""
        count_use(self.key.kid, self.key.signer, len(messages))
        return jws.sign_all(self.part, self.key.kid, messages)

    def check_senders(self, senders: Iterable[str]) -> None:
        """Refuse to speak for others.

        Raises:
            MayNotSignFor: names the sender.
        """
        for sender in senders:
            if not self.key.may_sign_for(sender):
                raise MayNotSignFor(
                    f"This process is {self.key.signer!r} and its key {self.key.kid} may not sign for {sender!r}. Send "
                    "as an agent of its own, or have an operator make a key for both: manage.py nexus_keys create "
                    f"--signer {self.key.signer} --agents …"
                )


@dataclass(slots=True)
class Keyring:
    """All keys at one moment.

    Args:
        token: of the stored keys.
        mode: the stricter one of what the setting asks for and what is recorded.
        keys: by name.
        signer: of this process; None until it has a key.
        read_at: when, by the monotonic clock.
    """

    token: UUID
    mode: SigningMode
    wanted: SigningMode
    recorded: SigningMode
    keys: Mapping[str, KnownKey] = field(default_factory=dict)
    signer: MessageSigner | None = None
    read_at: float = field(default_factory=monotonic)

    def is_current(self, token: UUID) -> bool:
        """Whether it need not be read again."""
        certain = monotonic() - self.read_at < ASK_AGAIN or not any(key.elsewhere for key in self.keys.values())
        return self.token == token and self.wanted is wanted_mode() and certain

    def part_of(self, kid: str) -> VerifyingPart | None:
        """The key that verifies what claims to be signed with it.

        Raises:
            KeyElsewhere: this process cannot tell.
            BadSignature: the row of the key is not ours.
        """
        known = self.keys.get(kid)
        if known is None:
            return None
        if known.part is None:
            raise (KeyElsewhere if known.elsewhere else BadSignature)(f"The key {kid} cannot be used: {known.problem}")
        return known.part


class KeyElsewhere(BadSignature):
    """This process lacks the master key that says whether a key is ours: ask again later, or elsewhere."""


class _Remembered:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.uncommitted: set[str] = set()
        self.forget()

    def forget(self) -> None:
        self.ring: Keyring | None = None
        self.read_at = float("-inf")


_remembered = _Remembered()


def forget() -> None:
    """Read the keys anew at the next question."""
    with _remembered.lock:
        _remembered.forget()


def verifying() -> Keyring:
    """The keys as they are now."""
    token = log.read_signing_token()
    with _remembered.lock:
        ring = _remembered.ring
        if ring is not None and ring.is_current(token):
            return ring
        ring = _remembered.ring = read_ring(token)
        _remembered.read_at = monotonic()
        return ring


def remembered() -> Keyring:
    """The keys as this process last read them: for whoever finds out in its own transaction whether their token is
    still the same (``log.open_batch``), and asks again otherwise.
    """
    with _remembered.lock:
        ring = _remembered.ring
    return ring if ring is not None and ring.is_current(ring.token) else verifying()


def known_problem() -> str:
    """Why this process cannot sign, or cannot check some keys, as far as it has read them; empty when all is well."""
    with _remembered.lock:
        ring = _remembered.ring
    if ring is None or ring.mode is SigningMode.OFF:
        return ""
    problems = [
        f"{key.kid}: {key.problem}"
        for key in ring.keys.values()
        if key.problem and (key.part is None or key.signer == get_settings().signer)
    ]
    return "; ".join(problems[:10])


def signing() -> MessageSigner | None:
    """What this process signs with; None while signing is off.

    The first message of an installation makes its key, in the transaction that is open.

    Raises:
        SigningKeyError: there is a key, and this process cannot use it.
    """
    with _remembered.lock:
        ring, age = _remembered.ring, monotonic() - _remembered.read_at
    fresh = ring is not None and age < REMEMBER and ring.wanted is wanted_mode()
    if ring is None or not fresh or (ring.signer and ring.signer.key.kid in _remembered.uncommitted):
        ring = verifying()
        with _remembered.lock:
            _remembered.read_at = monotonic()
    if ring.mode is SigningMode.OFF:
        return None
    signer = get_settings().signer
    if ring.signer is not None and ring.signer.key.signer == signer:
        return ring.signer
    ring = read_ring(log.read_signing_token())
    if ring.signer is None and own_secrets():
        halves = ", ".join(public.hex() for public in own_secrets())
        raise SigningKeyError(
            f"None of the keys of this process ({signer!r}) is registered and active. Where the master key is: "
            f"manage.py nexus_keys register --signer {signer} --agents … --public {halves} --activate"
        )
    if ring.signer is None:
        _make_first_key(signer)
        ring = read_ring(log.read_signing_token())
    if ring.signer is None:
        problems = [key.problem for key in ring.keys.values() if key.signer == signer and key.problem]
        raise SigningKeyError(
            f"The process {signer!r} has no key that it can sign with: {'; '.join(problems) or 'none is active'}. "
            "See manage.py nexus_keys list."
        )
    return ring.signer


def wanted_mode() -> SigningMode:
    """What the setting asks for."""
    return SigningMode(get_settings().signing)


def read_ring(token: UUID) -> Keyring:
    """Read all keys."""
    state = SigningState.objects.filter(pk=1).only("mode").first()
    recorded = SigningMode.OFF if state is None else SigningMode(state.mode)
    mode = max(wanted_mode(), recorded, key=lambda one: one.strictness)
    if recorded.strictness > wanted_mode().strictness:
        logger.warning("NEXUS_SIGNING is %s; %s is recorded and holds.", wanted_mode().value, recorded.value)
    ring = Keyring(token, mode, wanted_mode(), recorded)
    rows = list(SigningKey.objects.all())
    ring.keys = {row.kid: know(row) for row in rows}
    for row in rows:
        if row.state == KeyState.ACTIVE and row.signer == get_settings().signer and not ring.keys[row.kid].problem:
            part = _signing_part(row)
            if part is None:
                ring.keys[row.kid].problem = "its private half is elsewhere: see NEXUS_SIGNING_KEY_FILE"
            else:
                ring.signer = MessageSigner(ring.keys[row.kid], part)
    return ring


def _signing_part(row: SigningKey) -> SigningPart | None:
    secret = own_secrets().get(bytes(row.public))
    if secret is None and row.sealed:
        try:
            secret = open_secret(row)
        except SigningKeyError:  # it verifies here, and signs elsewhere
            return None
    return None if secret is None else SigningPart.load(Algorithm(row.algorithm), secret)


def know(row: SigningKey) -> KnownKey:
    """Make of a stored key what this process can use."""
    agents = tuple(matcher(pattern.strip()) for pattern in row.agents.split(",") if pattern.strip())
    known = KnownKey(row.kid, row.signer, KeyState(row.state), agents, None)
    try:
        vault = get_vault()
        if not vault.knows(row.master):
            known.problem = f"this process does not have the master key {row.master}; see NEXUS_MASTER_KEY"
            known.elsewhere = True
        elif not vault.certified(row.master, facts_of(row), bytes(row.certificate)):
            known.problem = "its row was not written by a holder of the master key"
        else:
            algorithm = Algorithm(row.algorithm)
            known.part = VerifyingPart.load(algorithm, bytes(row.public) or open_secret(row))
    except SigningKeyError as error:
        known.problem, known.elsewhere = str(error), True
    return known


def renew_token(**state: object) -> None:
    """Have every process read the keys anew. Call it in the transaction that changes them."""
    SigningState.objects.update_or_create(pk=1, defaults={"token": uuid.uuid4(), **state})


def _make_first_key(signer: str) -> None:
    """Another process may do so at the same time: one row wins."""
    if SigningKey.objects.filter(signer=signer).exists():
        return  # an operator retired or revoked them all: that is no reason to make one
    algorithm = Algorithm(get_settings().signing_algorithm)
    row = build_key(signer, "*", algorithm, KeyState.ACTIVE)
    with transaction.atomic():
        SigningKey.objects.bulk_create([row], ignore_conflicts=True)
        if not SigningKey.objects.filter(pk=row.kid).exists():
            return
        if connection.in_atomic_block:
            _remembered.uncommitted.add(row.kid)
            transaction.on_commit(lambda: _remembered.uncommitted.discard(row.kid))
        now, mode = timezone.now(), wanted_mode()
        if Message.objects.order_by("pk").values_list("pk").first() is not None:
            renew_token()  # the first worker that verifies records the mode, and what is in flight unsigned
        else:
            renew_token(mode=mode, mode_since=now)
        SigningChange.objects.create(at=now, who=signer, what="created", kid=row.kid, detail="the first key")
