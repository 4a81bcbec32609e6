"""Signatures: a stricter mode begins under load, and a key is revoked, in every interleaving. Named after the code.

What is real in it: the recorded mode and the keys' states, what is written down as in flight, processes of an older
version that neither sign nor verify beside new ones, what processes remember of the keys, somebody who has stolen a
key. What is left out: order within a mailbox (``world.py`` has it), bytes, time (whatever may be due may happen at any
moment), an operator who starts an old process again after enforcing began.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

UNSENT, STORED, HANDLED, REFUSED = range(4)
OFF, SIGN, REPORT, ENFORCE = range(4)
MODES = ("off", "sign", "report", "enforce")

UNSIGNED, OLD_KEY, NEW_KEY = "no key", "the old key", "the new key"


class Stored(NamedTuple):
    """A message of the log."""

    state: int = UNSENT
    key: str = UNSIGNED
    forged: bool = False
    late: bool = False
    """Really stored after what it was signed with had ended."""
    in_flight: bool = False
    """Written down as stored before."""


class Ring(NamedTuple):
    """The keys and the mode, as the database has them or a process remembers them."""

    mode: int = OFF
    revoked: bool = False


class Signing(NamedTuple):
    """Everything. ``admitted`` is the message that the new worker has verified and not committed yet, or -1."""

    rows: tuple[Stored, ...]
    ring: Ring = Ring()
    remembered: Ring = Ring()
    """By the new worker."""
    admitted: int = -1
    active: str = OLD_KEY
    signs_with: str = UNSIGNED
    """As the new sender remembers it."""
    old_processes: bool = True
    """They neither sign nor verify."""
    enforced: bool = False
    """It was recorded once."""
    parked: bool = False
    looked: bool = False
    """Somebody looked at what was in flight at the revocation, and resumed it."""
    forgeries: int = 1
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRules:
    """What is checked.

    Args:
        messages: how many are sent.
        forgeries: how many of them by somebody who has the old key.
        park: the revocation parks what is in flight.
        bugs: planted ones, see ``SIGNING_BUGS``.
    """

    messages: int = 2
    forgeries: int = 1
    park: bool = False
    bugs: frozenset[str] = frozenset()


SIGNING_BUGS = {
    "enforce beside old processes": "enforcing begins while a process neither signs nor verifies",
    "nothing written down": "what is in flight without a signature when enforcing begins is not exempt",
    "the mode goes back": "a process with a laxer setting records its own",
    "keys from memory": "a batch's transaction does not ask whether the keys are still the same",
    "revoked at once": "a key is revoked while a process still signs with it",
    "in flight by its own time": "what claims to be older than the revocation counts as in flight",
    "exempt, then parked": "what is in flight is exempt in one transaction, and its workflow parked in the next",
}


def signing_with(bug: str) -> SigningRules:
    """A small size in which a bug shows."""
    return SigningRules(park=bug == "exempt, then parked", bugs=frozenset({bug}))


def first_signing(rules: SigningRules) -> Signing:
    """Nothing sent; a version without signatures is at work beside the first new one."""
    return Signing(rows=(Stored(),) * rules.messages, forgeries=rules.forgeries)


def signing_is_done(world: Signing) -> bool:
    """Whether all is enforced, revoked, resumed and settled."""
    settled = all(row.state in (HANDLED, REFUSED) for row in world.rows)
    return settled and world.ring == Ring(ENFORCE, True) and not world.parked


def signing_is_broken(world: Signing) -> str:
    """What is wrong, or nothing."""
    return world.problem


SigningStep = tuple[str, bool, Signing]


def signing_steps(world: Signing, rules: SigningRules) -> Iterator[SigningStep]:
    """Every step that can follow."""
    yield from _sending(world)
    yield from _operating(world, rules)
    for index, row in enumerate(world.rows):
        if row.state == STORED and not world.parked and world.old_processes:
            yield f"an old worker handles {index + 1}", False, _handle(world, rules, index)
    yield from _verifying(world, rules)


def _with(world: Signing, index: int, **changes: object) -> Signing:
    rows = list(world.rows)
    rows[index] = rows[index]._replace(**changes)  # type: ignore[arg-type]
    return world._replace(rows=tuple(rows))


def _sending(world: Signing) -> Iterator[SigningStep]:
    index = next((index for index, row in enumerate(world.rows) if row.state == UNSENT), -1)
    if index < 0:
        return

    def stored(key: str, *, forged: bool = False) -> Signing:
        ended = world.ring.mode == ENFORCE if key == UNSIGNED else key == OLD_KEY and world.ring.revoked
        return _with(world, index, state=STORED, key=key, forged=forged, late=ended)

    yield f"outbox.store({index + 1}), {world.signs_with}", False, stored(world.signs_with)
    if world.old_processes:
        yield f"an old process stores {index + 1}", False, stored(UNSIGNED)
    if world.forgeries:
        for key in (UNSIGNED, OLD_KEY):
            forged = stored(key, forged=True)._replace(forgeries=world.forgeries - 1)
            yield f"somebody stores {index + 1}, {key}", True, forged


def _operating(world: Signing, rules: SigningRules) -> Iterator[SigningStep]:
    current = world.active if world.ring.mode >= SIGN else UNSIGNED
    if world.signs_with != current:
        yield f"keys.signing: {current}", False, world._replace(signs_with=current)
    if world.old_processes:
        yield "the old processes end", False, world._replace(old_processes=False)
    agreed = not world.old_processes and world.signs_with != UNSIGNED
    for mode in range(world.ring.mode + 1, ENFORCE + 1):
        if mode < ENFORCE or agreed or "enforce beside old processes" in rules.bugs:
            yield f"raise_mode({MODES[mode]})", False, _raise_mode(world, rules, mode)
    if "the mode goes back" in rules.bugs and world.ring.mode == ENFORCE:
        yield "a process records report", False, world._replace(ring=world.ring._replace(mode=REPORT))
    if world.active == OLD_KEY and world.ring.mode >= SIGN:
        yield "changing.rotate", False, world._replace(active=NEW_KEY)
    noticed = world.active == NEW_KEY and world.signs_with == NEW_KEY  # keys.REMEMBER has passed
    if not world.ring.revoked and world.ring.mode >= SIGN and (noticed or "revoked at once" in rules.bugs):
        revoked = _write_down(world._replace(ring=world.ring._replace(revoked=True)), OLD_KEY)
        parked = rules.park and "exempt, then parked" not in rules.bugs
        yield "changing.revoke", False, revoked._replace(parked=parked, active=NEW_KEY)
    if "exempt, then parked" in rules.bugs and world.ring.revoked and not world.parked and not world.looked:
        yield "park_all, later", False, world._replace(parked=True)
    if world.parked:
        yield "workflows.resume", False, world._replace(parked=False, looked=True)


def _raise_mode(world: Signing, rules: SigningRules, mode: int) -> Signing:
    raised = world._replace(ring=world.ring._replace(mode=mode), enforced=world.enforced or mode == ENFORCE)
    return _write_down(raised, UNSIGNED) if mode == ENFORCE and "nothing written down" not in rules.bugs else raised


def _write_down(world: Signing, key: str) -> Signing:
    for index, row in enumerate(world.rows):
        if row.state in (STORED, REFUSED) and row.key == key:
            world = _with(world, index, in_flight=True)
    return world


def _verifying(world: Signing, rules: SigningRules) -> Iterator[SigningStep]:
    """The new worker: verified in advance by what it remembers, and asked again in the transaction that handles it."""
    if world.admitted < 0:
        for index, row in enumerate(world.rows):
            if row.state == STORED and not world.parked:
                if _holds(row, world.remembered, rules):
                    yield f"authenticate_in_advance({index + 1})", False, world._replace(admitted=index)
                else:
                    yield from _by_current_keys(world, rules, index)
        return
    index, idle = world.admitted, world._replace(admitted=-1)
    if world.parked or world.rows[index].state != STORED:
        yield f"not to be handled ({index + 1})", False, idle
    elif "keys from memory" in rules.bugs or world.remembered == world.ring:
        yield f"execution.handle({index + 1})", False, _handle(idle, rules, index)
    else:
        yield from _by_current_keys(idle, rules, index)


def _by_current_keys(world: Signing, rules: SigningRules, index: int) -> Iterator[SigningStep]:
    known = world._replace(remembered=world.ring)
    if _holds(known.rows[index], known.ring, rules):
        yield f"authenticate({index + 1})", False, known._replace(admitted=index)
        return
    refused = _with(known, index, state=REFUSED)
    if not refused.rows[index].forged:
        refused = refused._replace(problem=f"{index + 1} is legitimate and was refused")
    yield f"refusing.settle_stopped({index + 1})", False, refused


def _holds(row: Stored, ring: Ring, rules: SigningRules) -> bool:
    ended = row.key == UNSIGNED or (row.key == OLD_KEY and ring.revoked)
    in_flight = row.in_flight or "in flight by its own time" in rules.bugs
    return ring.mode < ENFORCE or not ended or in_flight


def _handle(world: Signing, rules: SigningRules, index: int) -> Signing:
    row = world.rows[index]
    if row.late and world.enforced:
        return world._replace(problem=f"{index + 1} was stored after {row.key} had ended, and was handled")
    if rules.park and row.in_flight and row.key == OLD_KEY and not world.looked:
        return world._replace(problem=f"{index + 1} was in flight at the revocation, and nobody looked at it")
    return _with(world, index, state=HANDLED)
