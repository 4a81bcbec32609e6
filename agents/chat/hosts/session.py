"""The chat manager of the durable mode, and what wakes it.

The manager is an ordinary transactional agent: its handler reads the session, makes the step and writes the session.
What it sends is stored in the same transaction: a crash loses nothing and repeats nothing. The workflow's lock, which
every handler holds, keeps two workers apart.
"""

from __future__ import annotations

import functools
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents.chat.engine.effects import Effects
from agents.chat.engine.state import Status
from agents.chat.engine.step import ChatStep
from agents.chat.hosts import approval, store
from agents.chat.hosts.host import dispatch, fate
from agents.chat.hosts.workflows import of_workflow, whose_workflow_ended
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import DESK, MANAGER, SAY, STOP, WAKE
from agents.chat.rules.schema import read_text
from agents.models import Approval, ChatSession, ChatStatus
from messaging.api import Envelope, HandlerContext, Outgoing, ReliableCommunicationBus
from messaging.extension import get_settings, storable

MAX_WOKEN = 200


@functools.lru_cache(maxsize=256)
def read_definition(definition: str) -> TeamDefinition:
    """The team of a session."""
    return read_text(definition)


def handle(message: Envelope, context: HandlerContext) -> None:
    """The handler of the agent ``chat-manager``."""
    chat = context.workflow_id
    loaded = store.load(chat)
    if loaded is None:
        context.logger.info("%s from %s comes too late: its chat is over.", message.type, message.source)
        return
    team, state = read_definition(loaded[0]), loaded[1]
    history, most = store.load_history(chat, team, state), get_settings().max_message_bytes
    step = ChatStep(team, state, history, timezone.now().timestamp(), max_message_bytes=most)
    dispatch(step, message.source, message.type, message.data)
    store.save(chat, state, step.effects, step.next_deadline())
    _store_requests(chat, step.effects)
    for agent, type, data in step.effects.sends:
        context.send(agent, type, data)
    for said in (*step.effects.ignored, *step.effects.remarks):
        context.logger.info("Chat %s: %s.", chat, said)
    if step.effects.ended:
        _bus().complete_workflow(chat)


def _store_requests(chat: UUID, effects: Effects) -> None:
    if effects.withdrawn:
        approval.withdraw(chat, effects.withdrawn)
    for asked in effects.requests:
        Approval.objects.create(
            id=approval.approval_id(chat, asked.key),
            workflow_id=chat,
            key=asked.key,
            reply_to=MANAGER,
            purpose=asked.purpose,
            member=asked.member,
            question=storable(asked.question),
            content=storable(asked.content),
            options=[storable(option) for option in asked.options],
            deadline_at=store.to_time(asked.deadline),
        )


@functools.cache
def _bus() -> ReliableCommunicationBus:
    return ReliableCommunicationBus()


def close(chat: UUID, status: Status, reason: str) -> None:
    """Note that a chat is over which did not end by itself. Nobody is asked any more."""
    with transaction.atomic():
        ChatSession.objects.filter(pk=chat, status=ChatStatus.RUNNING).update(
            status=status.value, reason=reason, wake_at=None, ended_at=timezone.now()
        )
        approval.withdraw(chat)


def end_discarded(chat: UUID, type: str) -> None:
    """End a chat whose manager never gets a message, because an operator discarded its dead letter.

    It would stay open with nothing to wait for. What is only said into it from outside is not missed.
    """
    if type in (SAY, STOP) or not ChatSession.objects.filter(pk=chat, status=ChatStatus.RUNNING).exists():
        return
    reason = f"failed: its manager could not handle a message ({type}), and an operator discarded it"
    _bus().cancel_workflow(chat, reason)
    close(chat, Status.CANCELLED, reason)


def close_ended_chats() -> int:
    """Close chats whose workflow ended without them. The relay calls this; return how many.

    An ended workflow never opens again, so no lock is needed.
    """
    over = whose_workflow_ended(ChatSession.objects.filter(status=ChatStatus.RUNNING))
    found = list(over.values_list("pk", "workflow_status", of_workflow(ChatSession, "status_reason"))[:MAX_WOKEN])
    for chat, workflow, reason in found:
        if end := fate(workflow, reason or ""):
            close(chat, *end)
    return len(found)


def wake_due_chats() -> int:
    """Tell chats whose deadline has come. The relay calls this; return how many.

    A chat whose workflow is paused or parked is told too: the message waits with all others, and when it is handled, a
    deadline that passed in the meantime is set anew.
    """
    columns = ("pk", "wake_at", of_workflow(ChatSession, "status"), of_workflow(ChatSession, "status_reason"))
    waiting = ChatSession.objects.filter(status=ChatStatus.RUNNING, wake_at__lte=timezone.now()).order_by("wake_at")
    due = list(waiting.values_list(*columns)[:MAX_WOKEN])
    if not due:
        return 0
    with transaction.atomic():
        # Sending locks the workflows, as the manager's handler does, before the sessions are touched: no deadlock.
        _bus().send_many(
            [
                Outgoing(workflow_id=chat, source=DESK, recipient=MANAGER, type=WAKE, data=None)
                for chat, _, workflow, reason in due
                if fate(workflow, reason or "") is None
            ]
        )
        for chat, wake_at, workflow, reason in due:
            if end := fate(workflow, reason or ""):
                close(chat, *end)
            else:
                ChatSession.objects.filter(pk=chat, wake_at=wake_at).update(wake_at=None)
    return len(due)
