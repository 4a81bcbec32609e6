"""Chats in the database. Their state moves only in the transactions that settle messages, so a crash loses or repeats nothing.

The manager is an ordinary transactional agent: its handler reads the session, makes the step and writes the session, and what it
sends is stored in the same transaction. The workflow's lock, which every handler holds, keeps two workers apart.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection, transaction
from django.utils import timezone

from agents.chat import approval
from agents.chat.errors import ChatError, UnknownChat
from agents.chat.host import ChatView, PersonRequest, dispatch
from agents.chat.messages import DESK, MANAGER, PROCEED, START, WAKE, Said
from agents.chat.state import ChatState, Purpose, Status
from agents.chat.step import Effects, Step
from agents.chat.transcript import Transcript
from agents.models import Approval, ApprovalStatus, ChatEntry, ChatSession, ChatStatus
from agents.team.definitions import TeamDefinition
from agents.team.schema import read_text
from messaging.api import (
    CommunicationBus,
    Envelope,
    HandlerContext,
    Outgoing,
    ReliableCommunicationBus,
    SequenceTracker,
)

logger = logging.getLogger("nexus.chat")

FIRST_POLL, SLOWEST_POLL = 0.01, 0.2
WAKE_AT_ONCE = 200
STOPPED = ("paused", "parked")
CLOSED = ("cancelled", "expired")

_decode_said = msgspec.json.Decoder(Said).decode


@functools.lru_cache(maxsize=256)
def _team(definition: str) -> TeamDefinition:
    return read_text(definition)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# --- the manager's handler ---


def handle(message: Envelope, context: HandlerContext) -> None:
    """The handler of the agent ``chat-manager``."""
    session = ChatSession.objects.filter(pk=context.workflow_id, status=ChatStatus.RUNNING).first()
    if session is None:
        context.logger.info("%s from %s comes too late: its chat is over.", message.type, message.source)
        return
    team, state = _team(session.definition), ChatState.decode(session.state)
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
        history[path] = [_decode_said(body) for body in rows.order_by("number").values_list("body", flat=True)]
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


# --- deadlines ---


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


# --- what programs do ---


class DurableHost:
    """Keeps chats in the database. Implements ``ChatHost``.

    Args:
        bus: over which the manager and the members talk.
    """

    def __init__(self, bus: CommunicationBus) -> None:
        self._bus = bus

    def start(self, team: TeamDefinition, task: str, *, name: str, deduplication_id: str | None) -> UUID:
        with transaction.atomic():
            chat = self._bus.start_workflow(
                name, deduplication_id=deduplication_id, failure_policy=team.limits.on_failure
            )
            definition = msgspec.json.encode(team.to_data()).decode()
            _, created = ChatSession.objects.get_or_create(
                pk=chat, defaults={"team": team.name, "definition": definition, "state": ChatState().encode()}
            )
            if created:
                self.tell(chat, START, {"task": task})
        return chat

    def tell(self, chat: UUID, type: str, data: Any) -> None:
        self._bus.send(chat, MANAGER, type, data, sender=DESK)

    def view(self, chat: UUID) -> ChatView:
        found = (
            ChatSession.objects.filter(pk=chat)
            .values_list("definition", "state", "status", "reason", "workflow__status", "workflow__status_reason")
            .first()
        )
        if found is None:
            raise UnknownChat(f"There is no chat {chat}.")
        definition, state, status, reason, workflow, workflow_reason = found
        if status == ChatStatus.RUNNING and workflow in CLOSED:  # cancelled as a workflow, not as a chat
            status, reason = ChatStatus.CANCELLED, workflow_reason or f"its workflow is {workflow}"
        return ChatView(
            id=chat,
            team=_team(definition),
            state=ChatState.decode(state),
            status=Status(status),
            reason=reason or (workflow_reason if workflow in STOPPED else ""),
            paused=workflow in STOPPED,
        )

    def transcript(self, chat: UUID) -> Transcript:
        if not ChatSession.objects.filter(pk=chat).exists():
            raise UnknownChat(f"There is no chat {chat}.")
        entries: dict[str, list[Said]] = {}
        for path, body in ChatEntry.objects.filter(session=chat).order_by("path", "number").values_list("path", "body"):
            entries.setdefault(path, []).append(_decode_said(body))
        return Transcript(entries.pop("", []), entries)

    def requests(self, chat: UUID | None) -> Sequence[PersonRequest]:
        waiting = Approval.objects.filter(status=ApprovalStatus.WAITING, reply_to=MANAGER).order_by("created_at", "pk")
        if chat is not None:
            waiting = waiting.filter(workflow=chat)
        return [
            PersonRequest(
                id=row.pk,
                chat=row.workflow_id,
                purpose=Purpose(row.purpose),
                member=row.member,
                question=row.question,
                content=row.content,
                options=tuple(row.options),
                deadline=row.deadline_at,
            )
            for row in waiting[:1_000]
        ]

    def answer(self, request: UUID, *, approved: bool, text: str, by: str) -> None:
        approval.answer_approval(request, approved=approved, text=text, by=by, bus=self._bus)

    def settle(self, chat: UUID, timeout: float) -> bool:
        """Wait until the chat is over or waits for a person. Return whether it is over."""
        if connection.in_atomic_block:
            raise RuntimeError(
                "Workers cannot see this transaction before it commits; wait outside transaction.atomic()."
            )
        deadline, pause, waiter = monotonic() + timeout, FIRST_POLL, threading.Event()
        while True:
            view = self.view(chat)
            if view.status is not Status.RUNNING:
                return True
            if self.requests(chat) or (remaining := deadline - monotonic()) <= 0:
                return False
            waiter.wait(min(pause, remaining))
            pause = min(SLOWEST_POLL, pause * 1.5)

    def pause(self, chat: UUID, reason: str) -> None:
        self._bus.pause_workflow(chat, reason)

    def resume(self, chat: UUID) -> None:
        self._bus.resume_workflow(chat)

    def cancel(self, chat: UUID, reason: str) -> None:
        with transaction.atomic():
            self._bus.cancel_workflow(chat, reason)
            ChatSession.objects.filter(pk=chat, status=ChatStatus.RUNNING).update(
                status=ChatStatus.CANCELLED, reason=reason, wake_at=None, ended_at=timezone.now()
            )
            approval.withdraw(chat)

    def fork(self, chat: UUID, after: int, say: str | None) -> UUID:
        source = ChatSession.objects.select_related("workflow").filter(pk=chat).first()
        if source is None:
            raise UnknownChat(f"There is no chat {chat}.")
        entries = list(ChatEntry.objects.filter(session=source, path="", number__lte=after).order_by("number"))
        if not entries or entries[-1].number != after or not entries[-1].snapshot:
            possible = ChatEntry.objects.filter(session=source, path="").exclude(snapshot="")
            numbers = ", ".join(map(str, possible.order_by("number").values_list("number", flat=True)[:1_000]))
            raise ChatError(
                f"The chat cannot be forked after message {after}: nobody was to be chosen there. Possible: {numbers}."
            )
        limits = _team(source.definition).limits
        with transaction.atomic():
            forked = self._bus.start_workflow(f"{source.team} (fork after {after})", failure_policy=limits.on_failure)
            session = ChatSession.objects.create(
                pk=forked,
                team=source.team,
                definition=source.definition,
                state=entries[-1].snapshot,
                messages=after,
                forked_from=source,
                forked_after=after,
            )
            for entry in entries:
                entry.pk, entry.session = None, session
            ChatEntry.objects.bulk_create(entries, batch_size=500)
            self.tell(forked, PROCEED, {"say": say} if say else None)
        return forked

    def missing(self, chat: UUID) -> dict[str, list[int]]:
        return SequenceTracker(chat).missing()
