"""The protocol of one mailbox, small enough to try every interleaving. Transitions are named after the code.

What is real in it: the log's rows, the queue of the broker, workers that may die between any two steps, the memory of
publishers, the relay. What is left out: time (whatever may be due may happen at any moment, or never), bytes, batches
of several workflows (their lock makes them independent).

``successors`` yields (name of the transition, whether it is a fault, next world).
"""

from __future__ import annotations

from collections.abc import Iterator

from docs.model.world import (
    DEAD,
    HELD,
    IDLE,
    LEASED,
    PENDING,
    POLLED,
    PROCESSED,
    PRUNED,
    SENT,
    UNSENT,
    Rules,
    World,
)

Step = tuple[str, bool, World]


def successors(world: World, rules: Rules) -> Iterator[Step]:
    """Every step that can follow."""
    yield from _sending(world, rules)
    yield from _relaying(world, rules)
    yield from _broker(world, rules)
    yield from _deciding_who_may(world)
    for number, worker in enumerate(world.workers):
        yield from _working(world, rules, number, *worker)


# --- changes ---


def _with_row(world: World, index: int, **changes: object) -> World:
    rows = list(world.rows)
    rows[index] = rows[index]._replace(**changes)  # type: ignore[arg-type]
    return world._replace(rows=tuple(rows))


def _with_worker(world: World, number: int, worker: tuple[str, int, int]) -> World:
    workers = list(world.workers)
    workers[number] = worker
    return world._replace(workers=tuple(sorted(workers)))


def _on_queue(world: World, rules: Rules, index: int, change: int) -> World:
    queue = list(world.queue)
    queue[index] = min(rules.copies, queue[index] + change)
    return world._replace(queue=tuple(queue))


# --- sending ---


def _sending(world: World, rules: Rules) -> Iterator[Step]:
    unsent = [index for index, row in enumerate(world.rows) if row.state == UNSENT]
    if unsent:  # committed in the order of their positions: the workflow's lock sees to it
        index = unsent[0]
        stored = _with_row(world, index, state=PENDING)
        yield f"outbox.store({index + 1})", False, stored._replace(offered=stored.offered | {index})
    for index in world.offered:
        published = _on_queue(world, rules, index, +1)
        published = published._replace(offered=world.offered - {index})
        yield f"Publisher.begin({index + 1})", False, published._replace(confirmed=world.confirmed | {index})
        if IDLE in world.workers and not rules.leased:  # it was the worker that stored it
            kept = world._replace(offered=world.offered - {index})
            number = world.workers.index(IDLE)
            yield f"LocalDeliveries.keep({index + 1})", False, _with_worker(kept, number, ("kept", index, 0))
    for index in world.confirmed:
        rest = world._replace(confirmed=world.confirmed - {index})
        if rest.rows[index].state == PENDING:
            rest = _with_row(rest, index, state=SENT)
        yield f"log.mark_sent({index + 1})", False, rest
    if world.faults and (world.offered or world.confirmed):
        none: frozenset[int] = frozenset()
        yield "the publisher dies", True, world._replace(offered=none, confirmed=none, faults=world.faults - 1)


# --- the relay ---


def _relaying(world: World, rules: Rules) -> Iterator[Step]:
    relay = "ack before commit, no relay" not in rules.bugs
    for index, row in enumerate(world.rows):
        name = index + 1
        if row.state == PENDING and relay:
            yield f"due.claim_pending({name})", False, _on_queue(world, rules, index, +1)
            sent = _with_row(_on_queue(world, rules, index, +1), index, state=SENT)
            yield f"due.note_published({name})", False, sent
        if row.state == SENT and not world.queue[index] and relay:  # a marker sent behind it was seen
            yield f"due.take_back_lost({name})", False, _with_row(world, index, state=PENDING)
        if row.state == LEASED:
            yield f"due.end_expired_leases({name})", False, _with_row(world, index, state=PENDING, token=0)
        if row.state == DEAD and not rules.skip:
            replayed = _with_row(world, index, state=PENDING, marked=False)
            yield f"replay.replay({name})", False, _release(replayed._replace(parked=False))
        if row.state == DEAD and rules.skip and index < world.processed:
            yield f"replay.replay({name})", False, _with_row(world, index, state=PENDING, marked=False)
        copies = world.queue[index] or any(index == delivery for _, delivery, _ in world.workers)
        if row.marked and ("nobody checks" in rules.bugs or (row.state == PROCESSED and not copies)):
            yield f"prune_processed_ids({name})", False, _with_row(world, index, marked=False)
    if all(row.state == PROCESSED for row in world.rows) or "prune unfinished" in rules.bugs:
        for index, row in enumerate(world.rows):
            if row.state in (*POLLED, PROCESSED) and row.state != LEASED:
                yield f"prune_messages({index + 1})", False, _with_row(world, index, state=PRUNED, marked=False)
    yield from _replaying_gaps(world, rules)


def _release(world: World) -> World:
    for index, row in enumerate(world.rows):
        if row.state == HELD:
            world = _with_row(world, index, state=PENDING)
    return world


def _replaying_gaps(world: World, rules: Rules) -> Iterator[Step]:
    held = {index for index, row in enumerate(world.rows) if row.state == HELD}
    if "gap replay without lock" in rules.bugs:
        if held - world.read_gaps and not world.read_gaps:
            yield "replay_gaps reads", False, world._replace(read_gaps=frozenset(held))
        for index in world.read_gaps:
            late = world._replace(read_gaps=world.read_gaps - {index})
            if late.rows[index].state != PRUNED:
                yield f"replay_gaps writes({index + 1})", False, _with_row(late, index, state=HELD)
    if held and not world.parked:
        for index in range(min(world.processed + 1, len(world.rows))):
            if world.rows[index].state in (SENT, HELD):
                yield f"due.replay_gaps({index + 1})", False, _with_row(world, index, state=PENDING)


# --- the broker ---


def _broker(world: World, rules: Rules) -> Iterator[Step]:
    for index, count in enumerate(world.queue):
        if count and world.faults:
            poorer = world._replace(faults=world.faults - 1)
            yield f"the broker loses {index + 1}", True, _on_queue(poorer, rules, index, -1)
            if count < rules.copies:
                yield f"the broker doubles {index + 1}", True, _on_queue(poorer, rules, index, +1)


# --- the access policy ---


def _deciding_who_may(world: World) -> Iterator[Step]:
    if world.denied:
        yield "store.change: allowed", False, world._replace(denied=False)
    elif world.denials:
        yield "store.change: denied", True, world._replace(denied=True, denials=world.denials - 1)


# --- workers ---


def _working(world: World, rules: Rules, number: int, phase: str, index: int, token: int) -> Iterator[Step]:
    if phase == "idle":
        for wanted, count in enumerate(world.queue):
            if count:
                taken = _on_queue(world, rules, wanted, -1)
                yield f"broker.receive({wanted + 1})", False, _with_worker(taken, number, ("received", wanted, 0))
        return
    if world.faults:
        dead = _with_worker(world, number, IDLE)._replace(faults=world.faults - 1)
        if phase in ("received", "admitted", "committed") and "ack before commit, no relay" not in rules.bugs:
            dead = _on_queue(dead, rules, index, +1)  # handed out again: it was not acknowledged
        yield f"a worker dies ({phase} {index + 1})", True, dead
    if phase in ("received", "kept"):
        yield from _deciding(world, rules, number, index)
    elif phase == "admitted":  # planted: the policy is not asked again
        handled = _commit(_with_worker(world, number, ("committed", index, 0)), index)
        yield f"late commit({index + 1})", False, _offer_next(handled)
    elif phase == "committed":
        after = ("running", index, token) if token else IDLE
        yield f"broker.acknowledge({index + 1})", False, _with_worker(world, number, after)
    elif phase == "running":
        yield from _finishing(world, rules, number, index, token)
    elif phase == "settled":  # planted: its effects follow in a transaction of their own
        handled = _with_row(world, index, effects=world.rows[index].effects + 1)
        yield f"late effects({index + 1})", False, _with_worker(handled, number, ("committed", index, 0))
    elif phase == "effected":
        settled = _advance(_with_row(world, index, state=PROCESSED, marked=True), index)
        yield f"late mark({index + 1})", False, _with_worker(settled, number, ("committed", index, 0))


def _deciding(world: World, rules: Rules, number: int, index: int) -> Iterator[Step]:
    """``execution.plan_batch`` and what follows, up to the commit."""
    row, name = world.rows[index], index + 1
    done = _with_worker(world, number, ("committed", index, 0))
    if row.state == PRUNED:
        yield f"Settled.refuse({name})", False, done
        return
    unchecked = "nobody checks" in rules.bugs and not row.marked
    if row.state not in POLLED[:3] and not unchecked:
        yield f"DUPLICATE({name})", False, done
        return
    if world.parked:
        yield f"HELD({name}), parked", False, _with_row(done, index, state=HELD)
        return
    if world.denied and (index <= world.processed or "refused before its turn" in rules.bugs):
        yield f"refusing.settle_stopped({name})", False, _bury(done, rules, index)
        return
    if index > world.processed and "no order" not in rules.bugs:
        yield f"HELD({name})", False, _with_row(done, index, state=HELD)
        return
    if rules.leased:
        used = {row.token for row in world.rows} | {token for _, _, token in world.workers}
        token = min({1, 2, 3, 4, 5, 6} - used)  # unique among those that anybody remembers
        claimed = _with_row(world, index, state=LEASED, token=token)
        yield f"LeaseRunner.claim({name})", False, _with_worker(claimed, number, ("committed", index, token))
        return
    if "settle before the handler" in rules.bugs:
        early = _advance(_with_row(world, index, state=PROCESSED, marked=True), index)
        yield f"early settle({name})", False, _with_worker(early, number, ("settled", index, 0))
        return
    if "effects before the mark" in rules.bugs:
        early = _handle(world, index)
        yield f"early effects({name})", False, _with_worker(early, number, ("effected", index, 0))
        return
    if "policy asked before the transaction" in rules.bugs:
        yield f"authorize early({name})", False, _with_worker(world, number, ("admitted", index, 0))
        return
    handled = _commit(done, index)
    yield f"execution.handle({name})", False, _offer_next(handled)
    together = handled
    while together.processed < len(world.rows) and together.rows[together.processed].state == HELD:
        together = _commit(together, together.processed)
    if together is not handled:
        yield f"execution.handle({name}) with successors", False, together
    yield from _going_onward(handled, rules, name)
    yield from _failing(world, rules, number, index)


def _going_onward(world: World, rules: Rules, name: int) -> Iterator[Step]:
    """What the handler sends is stored and handled in its transaction, as long as nothing stands before it."""
    for index, row in enumerate(world.rows):
        if row.state != UNSENT:
            continue
        if world.processed != index and "onward past what waits" not in rules.bugs:
            return
        world = _commit(_with_row(world, index, state=PENDING), index)
        yield f"execution.handle({name}) onward to {index + 1}", False, world


def _failing(world: World, rules: Rules, number: int, index: int) -> Iterator[Step]:
    """The handler raised and its transaction was rolled back."""
    if not world.failures or world.rows[index].state not in POLLED:
        return
    failed = _with_worker(world, number, ("committed", index, 0))._replace(failures=world.failures - 1)
    yield f"settling.fail({index + 1})", False, _with_row(failed, index, state=PENDING, token=0)
    yield f"settling.bury({index + 1})", False, _bury(failed, rules, index)


def _bury(world: World, rules: Rules, index: int) -> World:
    """A dead letter in its position: the workflow parks there, or goes on without it."""
    buried = _with_row(world, index, state=DEAD, token=0)
    if not rules.skip:
        return buried._replace(parked=True)
    return _offer_next(_advance(_with_row(buried, index, skipped=True), index))


def _finishing(world: World, rules: Rules, number: int, index: int, token: int) -> Iterator[Step]:
    """``lease_results.store_all``: the result is stored if the token still holds."""
    row, name = world.rows[index], index + 1
    idle = _with_worker(world, number, IDLE)
    if (row.state != LEASED or row.token != token) and "no fencing" not in rules.bugs:
        yield f"LeaseLost({name})", False, idle
        return
    if world.denied and "policy asked at the start only" not in rules.bugs:
        yield f"lease_results refuses({name})", False, _bury(idle, rules, index)
        return
    yield f"lease_results.store_all({name})", False, _offer_next(_commit(idle, index))
    for what, _, after in _failing(world, rules, number, index):
        yield what, False, _with_worker(after, after.workers.index(("committed", index, 0)), IDLE)


def _handle(world: World, index: int) -> World:
    earlier = world.rows[:index]
    in_turn = all(row.effects or row.skipped for row in earlier) or index < world.processed
    handled = _with_row(world, index, effects=world.rows[index].effects + 1)
    return handled._replace(disorder=world.disorder or not in_turn, forbidden=world.forbidden or world.denied)


def _commit(world: World, index: int) -> World:
    """One transaction: processed-ID row, effects, state, counter."""
    if not world.rows[index].marked:
        world = _handle(world, index)
    return _advance(_with_row(world, index, state=PROCESSED, token=0, marked=True), index)


def _advance(world: World, index: int) -> World:
    return world._replace(processed=index + 1) if world.processed == index else world


def _offer_next(world: World) -> World:
    """``execution.release_held``: the next one, if it is held, becomes PENDING and is published after the commit."""
    following = world.processed
    if following >= len(world.rows) or world.rows[following].state != HELD:
        return world
    released = _with_row(world, following, state=PENDING)
    return released._replace(offered=released.offered | {following})
