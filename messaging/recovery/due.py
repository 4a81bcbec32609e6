"""What the relay does with deliveries that are due: claim and publish, take back what was lost, end expired leases.

Every function is one short transaction over a bounded number of rows, and skips rows that somebody else holds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.conf import get_settings
from messaging.core.registry import WORKER_KINDS
from messaging.log import rows
from messaging.models import FINAL_STATES, Delivery, DeliveryState, Mailbox, QueueMarker
from messaging.transport import wire

CLAIM = 500
MAX_BACKOFF = 6  # doublings of redelivery_after


def _skip_locked(table: str = "nexus_delivery") -> str:
    return f"FOR NO KEY UPDATE OF {table} SKIP LOCKED" if rows.on_postgres() else ""


def claim_pending() -> tuple[list[log.StoredDelivery], datetime]:
    """Claim deliveries that are due for publishing, the longest due first.

    A claim moves ``available_at`` into the future: for that long no other relay publishes them, and if this one dies,
    another does afterwards. What external agents are to have is offered to them, and published nowhere.

    Returns:
        The deliveries, and what ``available_at`` became.
    """
    now = timezone.now()
    again = now + timedelta(seconds=get_settings().publish_timeout + get_settings().publish_grace)
    with transaction.atomic():
        claimed = rows.fetch(
            "SELECT id FROM nexus_delivery WHERE state = 'pending' AND available_at <= %s"
            f" ORDER BY available_at, id LIMIT {CLAIM} {_skip_locked()}",
            [now],
        )
        if not claimed:
            return [], again
        ids = [rows.to_uuid(row[0]) for row in claimed]
        chosen = rows.among(ids)
        rows.execute(f"UPDATE nexus_delivery SET available_at = %s WHERE id {chosen.sql}", [again, *chosen.parameters])
        return log.carried(log.load_for_publishing(ids)), again


def take_back_lost() -> int:
    """Make deliveries PENDING that were sent, were not handled, and are in no queue any more. Return how many.

    A delivery counts as lost when a marker that was published after its time (``available_at``, that is
    ``redelivery_after`` behind its sending) has been seen by a worker: queues are first in, first out. Where its kind
    of agents has several queues, it must have been so in each of them. What lies in a queue that an earlier
    ``QUEUE_PARTITIONS`` had, and nobody reads now, is lost by this rule, too.
    """
    seen = dict(QueueMarker.objects.filter(seen_at__isnull=False).values_list("queue", "seen_at"))
    count = 0
    for kind in [kind.value for kind in WORKER_KINDS]:
        names = wire.queues_of(kind)
        times = [at for name in names if (at := seen.get(name)) is not None]
        if len(times) == len(names):
            count += _take_back(kind, min(times))
    return count


def _take_back(queue: str, seen_at: datetime) -> int:
    with transaction.atomic():
        lost = rows.fetch(
            "SELECT id FROM nexus_delivery WHERE state = 'sent' AND available_at <= %s AND queue = %s"
            f" ORDER BY available_at LIMIT {CLAIM} {_skip_locked()}",
            [seen_at, queue],
        )
        if not lost:
            return 0
        ids = [rows.to_uuid(row[0]) for row in lost]
        chosen = rows.among(ids)
        return rows.execute(
            "UPDATE nexus_delivery SET state = 'pending', available_at = %s,"
            " redeliveries = CASE WHEN redeliveries < 30000 THEN redeliveries + 1 ELSE redeliveries END"
            f" WHERE id {chosen.sql}",
            [timezone.now(), *chosen.parameters],
        )


def end_expired_leases() -> int:
    """Make deliveries PENDING whose lease was not renewed in time. Return how many.

    Attempts were counted when the lease was taken, so a message that kills its workers ends as a dead letter.
    """
    now = timezone.now()
    with transaction.atomic():
        expired = rows.fetch(
            "SELECT id FROM nexus_delivery WHERE state = 'leased' AND available_at <= %s"
            f" ORDER BY available_at LIMIT {CLAIM} {_skip_locked()}",
            [now],
        )
        if not expired:
            return 0
        log.reschedule([rows.to_uuid(row[0]) for row in expired], DeliveryState.PENDING, now)
        return len(expired)


def replay_gaps() -> int:
    """Publish the missing predecessors of deliveries that have been held for ``gap_timeout``. Return how many.

    The log has every predecessor. One that is SENT or HELD is made due now; a DEAD one waits for an operator, a LEASED
    one for its handler. One that is done without having been counted is counted.
    """
    now = timezone.now()
    with transaction.atomic():
        held = rows.fetch(
            "SELECT d.id, d.mailbox_id, m.processed, w.status FROM nexus_delivery d"
            " JOIN nexus_mailbox m ON m.id = d.mailbox_id JOIN nexus_workflow w ON w.id = d.workflow_id"
            f" WHERE d.state = 'held' AND d.available_at <= %s ORDER BY d.available_at LIMIT {CLAIM}"
            # Without the lock, one that a worker settles at this moment would become HELD again.
            f" {_skip_locked('d')}",
            [now],
        )
        if not held:
            return 0
        log.reschedule(
            [rows.to_uuid(row[0]) for row in held],
            DeliveryState.HELD,
            now + timedelta(seconds=get_settings().gap_timeout),
        )
        waiting = {(row[1], row[2]) for row in held if row[3] == "running"}
        count = 0
        for mailbox_id, processed in waiting:
            count += publish_front_again(mailbox_id, processed, now)
    return count + sum(pass_done(mailbox_id) for mailbox_id, _ in waiting)


def publish_front_again(mailbox_id: int, processed: int, now: datetime) -> int:
    """Make what a mailbox waits for due now, in the transaction that is open; return how many.

    Args:
        mailbox_id, processed: of the mailbox.
        now: the present time.
    """
    front = Delivery.objects.filter(
        mailbox=mailbox_id, position__lte=processed + 1, state__in=[DeliveryState.SENT, DeliveryState.HELD]
    )
    # One that a worker has locked is being handled; waiting for it could be a deadlock with that worker, which
    # goes on to the deliveries that are locked here.
    free = list(front.select_for_update(no_key=True, skip_locked=True).values_list("pk", flat=True))
    return Delivery.objects.filter(pk__in=free).update(state=DeliveryState.PENDING, available_at=now)


def pass_done(mailbox_id: int) -> int:
    """Count deliveries at the front of a mailbox that are done and not counted; return how many.

    Such are messages to an agent that was a program, without a handler, for a while.
    """
    workflow_id = Mailbox.objects.values_list("workflow_id", flat=True).get(pk=mailbox_id)
    with transaction.atomic():
        log.lock_workflows([workflow_id], wait=True)
        mailbox = Mailbox.objects.get(pk=mailbox_id)
        reached = mailbox.processed
        following = Delivery.objects.filter(mailbox=mailbox, position__gt=reached, edition=0).order_by("position")
        for position, state in following.values_list("position", "state")[:CLAIM]:
            if position != reached + 1 or state not in FINAL_STATES:
                break
            reached = position
        if reached == mailbox.processed:
            return 0
        log.advance_mailboxes({mailbox_id: reached})
        following.filter(position=reached + 1, state=DeliveryState.HELD).update(
            state=DeliveryState.PENDING, available_at=timezone.now()
        )
        return reached - mailbox.processed


def note_published(ids: list[UUID], claimed_until: datetime) -> None:
    """Mark deliveries SENT; those that were lost before get more time with every loss.

    Args:
        ids: of deliveries that were confirmed.
        claimed_until: as their claim returned it.
    """
    settings = get_settings()
    now = timezone.now()
    by_losses: dict[int, list[UUID]] = {}
    for identifier, losses in Delivery.objects.filter(pk__in=ids).values_list("pk", "redeliveries"):
        by_losses.setdefault(min(losses, MAX_BACKOFF), []).append(identifier)
    for losses, group in by_losses.items():
        due = now + timedelta(seconds=settings.redelivery_after * 2**losses)
        log.mark_sent(group, due, claimed_until=claimed_until)


def next_markers() -> list[tuple[str, datetime]]:
    """The markers to publish now: (queue, time). One a second, fewer while earlier ones are not seen.

    A queue that nobody reads must not fill with markers; one that lost them must get new ones.
    """
    now = timezone.now()
    names, markers = wire.marked_queues(), QueueMarker.objects.in_bulk()
    for name in markers.keys() - names.keys():  # of an earlier QUEUE_PARTITIONS: nobody reads it any more
        markers.pop(name).delete()
    due = []
    for queue in names:
        marker = markers.get(queue) or QueueMarker(queue=queue, sent_at=now - timedelta(hours=1))
        seen = marker.seen_at or now - timedelta(hours=1)
        unseen_for = (now - seen).total_seconds()
        pause = 1.0 if marker.sent_at <= seen else min(60.0, max(1.0, unseen_for / 2))
        if (now - marker.sent_at).total_seconds() >= pause:
            due.append((queue, now))
    sent = [QueueMarker(queue=queue, sent_at=now) for queue, now in due]
    QueueMarker.objects.bulk_create(sent, update_conflicts=True, update_fields=["sent_at"], unique_fields=["queue"])
    return due
