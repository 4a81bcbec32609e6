"""Chats in the memory of this process, for the legacy mode and for tests."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4
from weakref import WeakKeyDictionary

from agents.chat.engine.effects import Effects
from agents.chat.engine.state import ChatState, Status, WaitKind
from agents.chat.engine.step import ChatStep
from agents.chat.hosts.host import ChatView, PersonRequest, dispatch, fate
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.errors import ApprovalClosed, ChatError, UnknownApproval, UnknownChat
from agents.chat.rules.messages import ANSWER, DESK, MANAGER, PROCEED, START, WAKE, Entry
from agents.chat.rules.transcript import Transcript
from messaging.api import CommunicationBus, Envelope, HandlerContext, Labels
from messaging.extension import get_settings

logger = logging.getLogger("nexus.chat")

MAX_SILENCES = 10_000
"""How often ``settle`` tells a chat that nobody answers; its own limits end it long before."""


@dataclass(slots=True)
class _Chat:
    team: TeamDefinition
    name: str
    state: ChatState = field(default_factory=ChatState)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    snapshots: dict[int, str] = field(default_factory=dict)
    requests: dict[str, PersonRequest] = field(default_factory=dict)
    status: Status = Status.RUNNING
    reason: str = ""
    paused: bool = False


class InProcessHost:
    """Keeps the chats of one in-process bus. Implements ``ChatHost``.

    Args:
        bus: over which the manager and the members talk.
    """

    def __init__(self, bus: CommunicationBus) -> None:
        self._bus = bus
        self._chats: dict[UUID, _Chat] = {}
        self._answered: set[UUID] = set()
        bus.register_agent(MANAGER, self._handle)
        bus.register_agent(DESK)

    def start(self, team: TeamDefinition, task: str, *, name: str, deduplication_id: str | None) -> UUID:
        chat = self._bus.start_workflow(name, deduplication_id=deduplication_id)
        if chat not in self._chats:
            self._chats[chat] = _Chat(team, name)
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
        self._find(chat)
        self._bus.send(chat, MANAGER, type, data, sender=DESK, labels=labels, deduplication_id=deduplication_id)

    def view(self, chat: UUID) -> ChatView:
        found = self._find(chat)
        return ChatView(
            id=chat,
            team=found.team,
            state=found.state,
            status=found.status,
            reason=found.reason,
            paused=found.paused,
        )

    def transcript(self, chat: UUID) -> Transcript:
        entries = dict(self._find(chat).entries)
        return Transcript(entries.pop("", []), entries)

    def requests(self, chat: UUID | None) -> Sequence[PersonRequest]:
        chats = list(self._chats) if chat is None else [chat]
        return [request for name in chats for request in self._find(name).requests.values()]

    def answer(self, request: UUID, *, approved: bool, text: str, by: str) -> None:
        for chat, found in self._chats.items():
            for key, asked in found.requests.items():
                if asked.id == request:
                    del found.requests[key]
                    self._answered.add(request)
                    self.tell(chat, ANSWER, {"key": key, "approved": approved, "text": text, "by": by})
                    return
        if request in self._answered:
            raise ApprovalClosed(f"Approval {request} is answered already.")
        raise UnknownApproval(f"There is no approval {request} in this process.")

    def settle(self, chat: UUID, timeout: float) -> bool:
        """Go on until the chat is over or only a person, or a resume, can move it on. Return whether it is over."""
        found = self._find(chat)
        for _ in range(MAX_SILENCES):
            if found.status is not Status.RUNNING:
                return True
            if found.paused or not self._somebody_is_silent(found.state):
                return False
            # Every message has been handled, so whoever has not answered by now never will.
            self.tell(chat, WAKE, {"silent": True})
        raise ChatError(f"Chat {chat} does not come to an end.")

    def _somebody_is_silent(self, state: ChatState) -> bool:
        states = [state.at(path) for path in state.paths()]
        return any(
            wait.kind is not WaitKind.PERSON and wait.deadline and not wait.done
            for item in states
            if item is not None
            for wait in item.waits
        )

    def pause(self, chat: UUID, reason: str) -> None:
        self._bus.pause_workflow(chat, reason)
        self._find(chat).paused = True

    def resume(self, chat: UUID) -> None:
        self._find(chat).paused = False
        self._bus.resume_workflow(chat)

    def cancel(self, chat: UUID, reason: str) -> None:
        found = self._find(chat)
        self._bus.cancel_workflow(chat, reason)
        if found.status is Status.RUNNING:
            found.status, found.reason = Status.CANCELLED, reason
            found.requests.clear()

    def fork(self, chat: UUID, after: int, say: str | None) -> UUID:
        source = self._find(chat)
        snapshot = source.snapshots.get(after)
        if snapshot is None:
            raise ChatError(_no_fork(after, source.snapshots))
        forked = self._bus.start_workflow(f"{source.name} (fork after {after})")
        entries = {"": [entry for entry in source.entries[""] if entry.number <= after]}
        snapshots = {number: state for number, state in source.snapshots.items() if number <= after}
        self._chats[forked] = _Chat(source.team, source.name, ChatState.decode(snapshot), entries, snapshots)
        # What the manager knows goes along, and so do its labels.
        self.tell(forked, PROCEED, {"say": say} if say else None, self._bus.state_labels(chat, MANAGER))
        return forked

    def missing(self, chat: UUID) -> dict[str, list[int]]:
        self._find(chat)
        return {}

    def _find(self, chat: UUID) -> _Chat:
        found = self._chats.get(chat)
        if found is None:
            raise UnknownChat(f"There is no chat {chat} in this process.")
        if found.status is Status.RUNNING and (over := fate(self._bus.workflow_status(chat))):
            found.status, found.reason = over
            found.requests.clear()
        return found

    def _handle(self, message: Envelope, context: HandlerContext) -> None:
        chat = context.workflow_id
        found = self._find(chat)
        if found.status is not Status.RUNNING:
            return
        state = ChatState.decode(found.state.encode())
        history = {path: list(found.entries.get(path, ())) for path in state.paths()}
        most = get_settings().max_message_bytes
        step = ChatStep(found.team, state, history, time.time(), max_message_bytes=most)
        dispatch(step, message.source, message.type, message.data)
        for agent, type, data in step.effects.sends:
            context.send(agent, type, data)
        found.state = state
        self._apply(chat, found, step.effects)

    def _apply(self, chat: UUID, found: _Chat, effects: Effects) -> None:
        for path, entry in effects.entries:
            found.entries.setdefault(path, []).append(entry)
        found.snapshots.update(effects.snapshots)
        for key in effects.withdrawn:
            found.requests.pop(key, None)
        for asked in effects.requests:
            found.requests[asked.key] = PersonRequest(
                id=uuid4(),
                chat=chat,
                purpose=asked.purpose,
                member=asked.member,
                question=asked.question,
                content=asked.content,
                options=asked.options,
                deadline=datetime.fromtimestamp(asked.deadline, UTC),
            )
        for said in (*effects.ignored, *effects.remarks):
            logger.info("Chat %s: %s.", chat, said)
        if effects.ended:
            found.status, found.reason = found.state.status, found.state.reason
            self._bus.complete_workflow(chat)


def _no_fork(after: int, possible: Sequence[int] | dict[int, str]) -> str:
    numbers = ", ".join(map(str, sorted(possible)[-20:]))
    return f"The chat cannot be forked after message {after}: nobody was to be chosen there. Possible: {numbers}."


_hosts: WeakKeyDictionary[CommunicationBus, InProcessHost] = WeakKeyDictionary()


def host_of(bus: CommunicationBus) -> InProcessHost:
    """The host of an in-process bus; one a bus."""
    if bus not in _hosts:
        _hosts[bus] = InProcessHost(bus)
    return _hosts[bus]
