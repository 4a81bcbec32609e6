"""Chats in the database, as programs see them; ``agents.chat.hosts.session`` moves them on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import UUID

import msgspec
from django.db import InterfaceError, OperationalError, connection, transaction

from agents.chat.engine.state import ChatState, Purpose, Status
from agents.chat.hosts import approval
from agents.chat.hosts.host import ChatView, PersonRequest, fate
from agents.chat.hosts.session import close, read_definition
from agents.chat.hosts.store import decode_said
from agents.chat.hosts.workflows import PARKED, STOPPED, of_workflow
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.errors import ChatError, UnknownChat
from agents.chat.rules.messages import DESK, MANAGER, PROCEED, START, Entry
from agents.chat.rules.transcript import Transcript
from agents.models import Approval, ApprovalStatus, ChatEntry, ChatSession, ChatStatus
from messaging.api import CommunicationBus, Labels, SequenceTracker

MIN_POLL, MAX_POLL = 0.01, 0.2


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

    def tell(
        self,
        chat: UUID,
        type: str,
        data: Any,
        labels: Labels | None = None,
        deduplication_id: str | None = None,
    ) -> None:
        self._bus.send(chat, MANAGER, type, data, sender=DESK, labels=labels, deduplication_id=deduplication_id)

    def view(self, chat: UUID) -> ChatView:
        workflow_columns = of_workflow(ChatSession, "status"), of_workflow(ChatSession, "status_reason")
        columns = ("definition", "state", "status", "reason", *workflow_columns)
        found = ChatSession.objects.filter(pk=chat).values_list(*columns).first()
        if found is None:
            raise UnknownChat(f"There is no chat {chat}.")
        definition, state, status, reason, workflow, workflow_reason = found
        if status == ChatStatus.RUNNING:
            status, reason = fate(workflow, workflow_reason or "") or (status, reason)
        return ChatView(
            id=chat,
            team=read_definition(definition),
            state=ChatState.decode(state),
            status=Status(status),
            reason=reason or (workflow_reason if workflow in STOPPED else ""),
            paused=workflow in STOPPED,
            parked=workflow == PARKED,
        )

    def transcript(self, chat: UUID) -> Transcript:
        if not ChatSession.objects.filter(pk=chat).exists():
            raise UnknownChat(f"There is no chat {chat}.")
        entries: dict[str, list[Entry]] = {}
        for path, body in ChatEntry.objects.filter(session=chat).order_by("path", "number").values_list("path", "body"):
            entries.setdefault(path, []).append(decode_said(body))
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
        """Wait until the chat is over, parked, or waits for a person. Return whether it is over."""
        if connection.in_atomic_block and self.view(chat).status is Status.RUNNING and not self.requests(chat):
            raise RuntimeError(
                "Workers cannot see this transaction before it commits; wait outside transaction.atomic(). "
                "In a test: start_chat(), messaging.testing.drain(), then wait()."
            )
        deadline, pause, waiter = monotonic() + timeout, MIN_POLL, threading.Event()
        while True:
            remaining = deadline - monotonic()
            try:
                view = self.view(chat)
                if view.status is not Status.RUNNING:
                    return True
                if view.parked or self.requests(chat):
                    return False
            except (OperationalError, InterfaceError):  # the database restarts, perhaps: wait on
                connection.close()
                if remaining <= 0:
                    raise
            if remaining <= 0:
                return False
            waiter.wait(min(pause, remaining))
            pause = min(MAX_POLL, pause * 1.5)

    def pause(self, chat: UUID, reason: str) -> None:
        self._bus.pause_workflow(chat, reason)

    def resume(self, chat: UUID) -> None:
        self._bus.resume_workflow(chat)

    def cancel(self, chat: UUID, reason: str) -> None:
        with transaction.atomic():
            self._bus.cancel_workflow(chat, reason)
            close(chat, Status.CANCELLED, reason)

    def fork(self, chat: UUID, after: int, say: str | None) -> UUID:
        source = ChatSession.objects.filter(pk=chat).first()
        if source is None:
            raise UnknownChat(f"There is no chat {chat}.")
        entries = list(ChatEntry.objects.filter(session=source, path="", number__lte=after).order_by("number"))
        if not entries or entries[-1].number != after or not entries[-1].snapshot:
            possible = ChatEntry.objects.filter(session=source, path="").exclude(snapshot="")
            numbers = ", ".join(map(str, possible.order_by("number").values_list("number", flat=True)[:1_000]))
            raise ChatError(
                f"The chat cannot be forked after message {after}: nobody was to be chosen there. Possible: {numbers}."
            )
        limits = read_definition(source.definition).limits
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
            # What the manager knows goes along, and so do its labels.
            self.tell(forked, PROCEED, {"say": say} if say else None, self._bus.state_labels(source.pk, MANAGER))
        return forked

    def missing(self, chat: UUID) -> dict[str, list[int]]:
        return SequenceTracker(chat).missing()
