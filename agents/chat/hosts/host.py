"""What a chat manager stands on: memory (in-process) or the database (durable)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from agents.chat.engine.state import ChatState, Purpose, Status, WaitKind
from agents.chat.engine.step import ChatStep
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.messages import ANSWER, DESK, PROCEED, SAY, START, STOP, WAKE
from agents.chat.rules.transcript import Transcript


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRequest:
    """Something that waits for a person.

    Args:
        id: to answer it by.
        chat: the chat's id.
        purpose: what for.
        member: whose message or turn it is.
        question: what the person is asked.
        content: what is to be approved, or was said before.
        options: answers to choose from.
        deadline: until when, or None.
    """

    id: UUID
    chat: UUID
    purpose: Purpose
    member: str
    question: str
    content: str
    options: tuple[str, ...]
    deadline: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatView:
    """A chat as it stands.

    Args:
        id: of the chat, which is that of its workflow.
        team: its definition.
        state: its state.
        status: whether it goes on.
        reason: why it is over.
        paused: whether its workflow is paused or parked.
        parked: whether a failure stopped it, which only an operator can mend.
    """

    id: UUID
    team: TeamDefinition
    state: ChatState
    status: Status
    reason: str
    paused: bool
    parked: bool = False

    @property
    def standing(self) -> str:
        """How it stands, for people: also why it does not go on while it runs."""
        return standing(self.status, parked=self.parked, paused=self.paused, asks=self.waits_for_person)

    @property
    def waits_for_person(self) -> bool:
        """Whether nothing but a person's answer moves it on."""
        waits = [
            wait
            for path in self.state.paths()
            if (chat := self.state.at(path)) is not None
            for wait in chat.waits
            if not wait.done and not wait.queued and wait.waits_for is None and str(wait.turn) not in chat.children
        ]
        return bool(waits) and all(wait.kind is WaitKind.PERSON for wait in waits)


def standing(status: str, *, parked: bool, paused: bool, asks: bool) -> str:
    """A chat's status in words that say what it waits for.

    Args:
        status: of the chat.
        parked, paused: of its workflow.
        asks: whether it waits for a person.
    """
    if status != Status.RUNNING:
        return str(status)
    if parked:
        return "parked"
    if paused:
        return "paused"
    return "waiting for a person" if asks else "running"


class ChatHost(Protocol):
    """See the methods of ``NexusGroupChatManager``."""

    def start(self, team: TeamDefinition, task: str, *, name: str, deduplication_id: str | None) -> UUID: ...
    def tell(self, chat: UUID, type: str, data: Any, *, deduplication_id: str | None = None) -> None: ...
    def view(self, chat: UUID) -> ChatView: ...
    def transcript(self, chat: UUID) -> Transcript: ...
    def requests(self, chat: UUID | None) -> Sequence[PersonRequest]: ...
    def answer(self, request: UUID, *, approved: bool, text: str, by: str) -> None: ...
    def settle(self, chat: UUID, timeout: float) -> bool: ...
    def pause(self, chat: UUID, reason: str) -> None: ...
    def resume(self, chat: UUID) -> None: ...
    def cancel(self, chat: UUID, reason: str) -> None: ...
    def fork(self, chat: UUID, after: int, say: str | None) -> UUID: ...
    def missing(self, chat: UUID) -> dict[str, list[int]]: ...


def fate(workflow: str | None, reason: str = "") -> tuple[Status, str] | None:
    """How a chat ended that did not end by itself, because its workflow did. None for a chat that goes on.

    Args:
        workflow: the workflow's status; None when it was removed from the log, as only ended ones are.
        reason: the workflow's.
    """
    if workflow is None:
        return Status.CANCELLED, "its workflow ended and was removed from the log"
    if workflow == "completed":
        return Status.ENDED, reason or "its workflow was completed"
    if workflow in ("cancelled", "expired"):
        return Status.CANCELLED, reason or f"its workflow is {workflow}"
    return None


def dispatch(step: ChatStep, source: str, type: str, data: Any) -> None:
    """Make of a message what happened in the chat.

    Args:
        step: of the chat.
        source: the message's sender. What the desk may say, nobody else may.
        type, data: of the message.
    """
    if source != DESK:
        step.said(source, data)
    elif type == START:
        step.start(data["task"])
    elif type == SAY:
        step.say(data["content"], data["speaker"])
    elif type == STOP:
        step.stop()
    elif type == WAKE:
        step.wake(silent=bool(data and data.get("silent")))
    elif type == PROCEED:
        if data and data.get("say"):
            step.say(data["say"])
        step.proceed()
    elif type == ANSWER:
        step.answer(data["key"], approved=data["approved"], text=data["text"], by=data["by"])
    else:
        step.effects.ignored.append(f"{source} sent {type}, which means nothing here")
