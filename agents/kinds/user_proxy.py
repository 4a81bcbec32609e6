"""A person's proxy: what is sent to it waits for the person, for days if need be."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec

from agents.base import BaseAgent
from agents.kinds.text import MAX_KEPT_BYTES, fit, plain, state_size
from messaging.api import (
    CommunicationBus,
    Envelope,
    HandlerContext,
    HandlerKind,
    SentMessage,
    TerminalError,
    registry,
)
from messaging.extension import load_states

ANSWER = "user.answer"


class OpenQuestion(msgspec.Struct, frozen=True):
    """A message that waits for the person.

    Args:
        id: of the message; ``answer`` takes it.
        source: who sent it.
        type: its type.
        data: what it says.
    """

    id: UUID
    source: str
    type: str
    data: Any


class UserProxyAgent(BaseAgent):
    """Stands for a person. Whoever sends it a message gets the person's answer as the reply, whenever that comes.

    What waits is in the database, with its place in the conversation: it survives restarts of everything. Where it is
    too much for the agent's state, the longest questions are kept cut (the log has them whole); a question for
    which there is no room even so is a dead letter, to be replayed when the person has answered others.

    Args:
        name: unique among all agents and groups.
        person: the name in which ``answer`` sends; registered with the bus as a program.
        settings: see ``BaseAgent``.
    """

    kind = HandlerKind.TRANSACTIONAL

    def __init__(self, name: str, *, person: str = "", **settings: Any) -> None:
        super().__init__(name, **settings)
        self.person = person or f"{name}.person"

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        waiting = context.state.setdefault("waiting", {})
        if message.source != self.person:
            question = OpenQuestion(message.message_id, message.source, message.type, message.data)
            waiting[str(question.id)] = plain(question)
            _make_room(waiting)
            return
        question_id = str(message.data["question"])
        if question_id not in waiting:
            context.logger.warning("Question %s was answered before.", question_id)
            return
        question = msgspec.convert(waiting.pop(question_id), OpenQuestion)
        context.send(question.source, f"{question.type}.reply", message.data["answer"], correlation_id=question.id)

    def questions(self, workflow: UUID) -> list[OpenQuestion]:
        """What waits for the person in a workflow, the oldest first."""
        return self.questions_in([workflow]).get(workflow, [])

    def questions_in(self, workflows: Collection[UUID]) -> dict[UUID, list[OpenQuestion]]:
        """What waits for the person in each of several workflows, the oldest first."""
        states = load_states([(workflow, self.name) for workflow in workflows])
        return {
            workflow: [msgspec.convert(question, OpenQuestion) for question in state.get("waiting", {}).values()]
            for (workflow, _), state in states.items()
        }

    def answer(self, bus: CommunicationBus, workflow: UUID, question: UUID, answer: Any) -> SentMessage:
        """Answer a question. The first answer counts; answering twice is harmless.

        Args:
            bus: to send with.
            workflow: the question's.
            question: its id.
            answer: any JSON value.

        Raises:
            TerminalError: no such question waits.
        """
        if not any(waiting.id == question for waiting in self.questions(workflow)):
            raise TerminalError(f"No question {question} waits for {self.name} in workflow {workflow}.")
        bus.register_agent(self.person)
        return bus.send(
            workflow,
            self.name,
            ANSWER,
            {"question": str(question), "answer": answer},
            sender=self.person,
            deduplication_id=f"answer-{question}",
        )


def user_proxies() -> list[UserProxyAgent]:
    """The proxies of persons that this process knows, by name."""
    owners = (getattr(spec.handler, "__self__", None) for spec in registry)
    return sorted((owner for owner in owners if isinstance(owner, UserProxyAgent)), key=lambda proxy: proxy.name)


def _make_room(waiting: dict[str, Any]) -> None:
    if state_size(waiting) > MAX_KEPT_BYTES:
        frame = state_size({key: {**question, "data": None} for key, question in waiting.items()})
        cut = fit([question["data"] for question in waiting.values()], MAX_KEPT_BYTES - frame)
        for question, data in zip(waiting.values(), cut, strict=True):
            question["data"] = data
