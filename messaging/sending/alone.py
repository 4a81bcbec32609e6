"""Sending in a transaction of its own: what can be said without it is said before, by the policy known last."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from messaging import log
from messaging.core.errors import AccessPolicyError, NotAuthorized
from messaging.core.messages import Outgoing
from messaging.gate.draft import Draft
from messaging.gate.sending import admit_drafts
from messaging.gate.steps.authorize import authorize_drafts
from messaging.log.access import Epoch
from messaging.security.access.holding import holding, last_held
from messaging.sending import outbox
from messaging.sending.ground import DatabaseGround, ForeseenGround


def send_alone(outgoing: Sequence[Outgoing]) -> outbox.Stored | None:
    """Send in a transaction of its own, in two round trips.

    Args:
        outgoing: see ``outbox.send``.

    Returns:
        What was stored and is committed; None where it has to be sent as always, and nothing was done.

    Raises:
        SendError, EnvelopeError: see ``outbox.store``. Nothing is stored.
    """
    epoch = last_held()
    if epoch is None or not log.may_own() or not outbox.is_numbered_at_once(outgoing):
        return None
    drafts = {number: Draft(message) for number, message in enumerate(outgoing)}
    try:
        admit_drafts(list(drafts.values()), ForeseenGround({}, epoch))
    except (NotAuthorized, AccessPolicyError):  # only a policy that is held may refuse, or count
        return None
    counts = outbox.count_per_mailbox(drafts.values())
    return _send(outgoing, drafts, counts, epoch) if counts else None


def _send(
    outgoing: Sequence[Outgoing], drafts: dict[int, Draft], counts: log.MailboxCounts, epoch: Epoch
) -> outbox.Stored:
    signer = outbox.choose_keys(drafts.values())
    with transaction.atomic():
        opened = log.open_numbered(outgoing[0].workflow_id, len(outgoing), counts)
        with holding(opened.epoch):
            if opened.epoch != epoch:
                authorize_drafts(list(drafts.values()), DatabaseGround({}))
            workflows = {} if opened.workflow is None else {opened.workflow.id: opened.workflow}
            burst = outbox.make_numbered(outgoing, drafts, workflows, opened.mailboxes, counts, signer)
            log.store_and_commit(burst.messages, burst.delivery_rows)
    return outbox.Stored(burst.receipts, burst.deliveries)
