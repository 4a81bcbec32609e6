"""The chat manager of the durable mode, and what wakes it.

The manager is an ordinary transactional agent: its handler reads the session, makes the step and writes the session.
What it sends is stored in the same transaction: a crash loses nothing and repeats nothing. The workflow's lock, which
every handler holds, keeps two workers apart.
"""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime

import msgspec
from django.db import transaction
from django.utils import timezone

from agents.chat import approval
from agents.chat.host import dispatch
from agents.chat.messages import DESK, MANAGER, WAKE, Said
from agents.chat.state import ChatState
from agents.chat.step import Effects, Step
from agents.models import Approval, ChatEntry, ChatSession, ChatStatus
from agents.team.definitions import TeamDefinition
from agents.team.schema import read_text
from messaging.api import Envelope, HandlerContext, Outgoing, ReliableCommunicationBus

logger = logging.getLogger("nexus.chat")

WAKE_AT_ONCE = 200
STOPPED = ("paused", "parked")
CLOSED = ("cancelled", "expired")

decode_said = msgspec.json.Decoder(Said).decode


@functools.lru_cache(maxsize=256)
def read_definition(definition: str) -> TeamDefinition:
    """The team of a session."""
    return read_text(definition)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def handle(message: Envelope, context: HandlerContext) -> None:
    """The handler of the agent ``chat-manager``."""
    session = ChatSession.objects.filter(pk=context.workflow_id, status=ChatStatus.RUNNING).first()
    if session is None:
        context.logger.info("%s from %s comes too late: its chat is over.", message.type, message.source)
        return
    team, state = read_definition(session.definition), ChatState.decode(session.state)
    step = Step(team, state, _history(session, team, state), timezone.now().timestamp())
    dispatch(step, message.source, message.type, message.data)
    _store(session, step)
    for agent, type, data in step.effects.sends:
        context.send(agent, type, data)


def _history(session: ChatSession, team: TeamDefinition, state: ChatState) -> dict[str, list[Said]]:
    """The entries that the step may look at: those that members get to see, and those that were not checked yet."""
    history: dict[str, list[Said]] = {}
    for path in state.paths():
        own = state.at(path)
        if own is None or own.count == 0:
            continue
        after = min(own.checked, own.count - team.limits.history)
        rows = ChatEntry.objects.filter(session=session.pk, path=path, number__gt=after)
        history[path] = [decode_said(body) for body in rows.order_by("number").values_list("body", flat=True)]
    return history


def _store(session: ChatSession, step: Step) -> None:
    effects, state = step.effects, step.root.state
    ChatEntry.objects.bulk_create(
        ChatEntry(
            session=session,
            path=path,
            number=said.number,
            speaker=said.speaker,
            kind=said.kind,
            body=msgspec.json.encode(said).decode(),
            snapshot=effects.snapshots.get(said.number, "") if not path else "",
        )
        for path, said in effects.entries
    )
    session.state, session.messages = state.encode(), state.count
    session.wake_at = _time(step.next_deadline())
    session.status, session.reason = ChatStatus(state.status), state.reason
    session.ended_at = timezone.now() if effects.ended else None
    session.save(update_fields=["state", "messages", "wake_at", "status", "reason", "ended_at"])
    _store_requests(session, effects)
    for ignored in effects.ignored:
        logger.info("Chat %s: %s.", session.pk, ignored)
    if effects.ended:
        _bus().complete_workflow(session.pk)


def _store_requests(session: ChatSession, effects: Effects) -> None:
    if effects.withdrawn:
        approval.withdraw(session.pk, effects.withdrawn)
    for asked in effects.requests:
        Approval.objects.create(
            id=approval.approval_id(session.pk, asked.key),
            workflow_id=session.pk,
            key=asked.key,
            reply_to=MANAGER,
            purpose=asked.purpose,
            member=asked.member,
            question=asked.question.replace("\x00", ""),
            content=asked.content.replace("\x00", ""),
            options=list(asked.options),
            deadline_at=_time(asked.deadline),
        )


@functools.cache
def _bus() -> ReliableCommunicationBus:
    return ReliableCommunicationBus()


def wake_due_chats() -> int:
    """Tell chats whose deadline has come. The relay calls this; return how many.

    A chat whose workflow is paused or parked is told too: the message waits with all others, and when it is handled, a
    deadline that passed in the meantime is set anew.
    """
    due = list(
        ChatSession.objects.filter(status=ChatStatus.RUNNING, wake_at__lte=timezone.now())
        .order_by("wake_at")
        .values_list("pk", "wake_at", "workflow__status")[:WAKE_AT_ONCE]
    )
    if not due:
        return 0
    with transaction.atomic():
        # Sending locks the workflows, as the manager's handler does, before the sessions are touched: no deadlock.
        _bus().send_many(
            [
                Outgoing(workflow_id=chat, source=DESK, recipient=MANAGER, type=WAKE, data=None)
                for chat, _, status in due
                if status in ("running", *STOPPED)
            ]
        )
        for chat, wake_at, status in due:
            ended = {"status": ChatStatus.CANCELLED, "reason": f"its workflow is {status}"} if status in CLOSED else {}
            ChatSession.objects.filter(pk=chat, wake_at=wake_at).update(wake_at=None, **ended)
    return len(due)
