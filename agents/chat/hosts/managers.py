"""The group chat managers: one API, in this process or durable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from agents.chat.engine.state import Status
from agents.chat.hosts.durable import DurableHost
from agents.chat.hosts.host import ChatHost, ChatView, PersonRequest
from agents.chat.hosts.in_process import host_of
from agents.chat.rules.definitions import TeamDefinition
from agents.chat.rules.errors import ChatParked, ChatTimeout
from agents.chat.rules.messages import SAY, STOP, Usage
from agents.chat.rules.transcript import Transcript
from messaging.api import CommunicationBus, ConfigurationError, ReliableCommunicationBus, UnknownAgent, registry
from messaging.extension import did_you_mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person says to a request.

    Args:
        approved: yes or no.
        text: a comment, an input, or the name of the next speaker.
        by: who.
    """

    approved: bool = True
    text: str = ""
    by: str = ""


OnRequest = Callable[[PersonRequest], Answer | None]
"""Asked for each request that waits; None leaves it waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """How a chat ended.

    Args:
        chat: its id.
        status: ended or cancelled.
        reason: why.
        rounds: how many there were.
        usage: what it consumed, sub-chats included.
        transcript: what was said.
    """

    chat: UUID
    status: Status
    reason: str
    rounds: int
    usage: Usage
    transcript: Transcript


class NexusGroupChatManager:
    """Runs group chats in this process: at once, and forgotten when the process ends.

    Args:
        bus: an in-process bus with which the members are registered; a new one by default.

    Raises:
        ConfigurationError: the bus is a durable one.
    """

    def __init__(self, bus: CommunicationBus | None = None) -> None:
        self.bus = bus or self._default_bus()
        self._host: ChatHost = self._make_host()

    def _default_bus(self) -> CommunicationBus:
        return CommunicationBus()

    def _make_host(self) -> ChatHost:
        if isinstance(self.bus, ReliableCommunicationBus) and not self.bus.legacy_mode:
            raise ConfigurationError(
                "NexusGroupChatManager runs in this process and cannot use a durable bus. "
                "Use ReliableNexusGroupChatManager."
            )
        return host_of(self.bus)

    # --- starting and waiting ---

    def start_chat(
        self, team: TeamDefinition, task: str, *, name: str = "", deduplication_id: str | None = None
    ) -> UUID:
        """Start a chat.

        Args:
            team: who takes part, by which rules.
            task: what it is about; the first entry of the transcript.
            name: of its workflow, for people; the team's name by default.
            deduplication_id: starting again with the same one returns the first chat.

        Returns:
            The chat's id, which is also its workflow's.

        Raises:
            UnknownAgent: a member's agent is not known to the bus.
        """
        unknown = self.bus.unknown_names(team.agents())
        if unknown:
            raise UnknownAgent(
                f"Team {team.name!r} needs agents that nobody has registered: {meant(unknown)}. Register them "
                "(bus.register_agent, or @chat_member in <app>.nexus_agents), or correct the names."
            )
        return self._host.start(team, task, name=name or team.name, deduplication_id=deduplication_id)

    def wait(self, chat: UUID, *, timeout: float = 60.0, on_request: OnRequest | None = None) -> ChatResult:
        """Wait until a chat is over.

        Args:
            chat: its id.
            timeout: seconds to wait.
            on_request: answers for a person meanwhile, such as by asking at the terminal.

        Raises:
            ChatTimeout: it is not over. It goes on, or waits for a person or a resume; call again.
            ChatParked: one of its messages is a dead letter. Raised at once, not at the timeout.
        """
        deadline = monotonic() + timeout
        while not self._host.settle(chat, max(0.0, deadline - monotonic())):
            answered = 0
            for request in self._host.requests(chat) if on_request else ():
                answer = on_request(request) if on_request else None
                if answer is not None:
                    self._host.answer(request.id, approved=answer.approved, text=answer.text, by=answer.by)
                    answered += 1
            if not answered:
                raise self._why_not_over(chat, timeout)
        view = self._host.view(chat)
        return ChatResult(
            chat=chat,
            status=view.status,
            reason=view.reason,
            rounds=view.state.rounds,
            usage=view.state.usage,
            transcript=self._host.transcript(chat),
        )

    def _why_not_over(self, chat: UUID, timeout: float) -> ChatTimeout:
        view = self._host.view(chat)
        if view.parked:
            return ChatParked(
                f"Chat {chat} is parked: {view.reason or 'a message of it is a dead letter'}. Look at its dead letter, "
                "correct the cause, and replay or discard it (the admin, nexus_replay, nexus_discard)."
            )
        return ChatTimeout(self._what_it_waits_for(chat, view, timeout))

    def _what_it_waits_for(self, chat: UUID, view: ChatView, timeout: float) -> str:
        if view.paused:
            return f"Chat {chat} is paused ({view.reason or 'no reason given'}). Resume it."
        if requests := self._host.requests(chat):
            asked = "; ".join(f"{request.question} ({request.id})" for request in requests)
            return f"Chat {chat} waits for a person: {asked}. Answer with manager.answer_approval."
        return f"Chat {chat} is not over after {timeout:g} s. It goes on if a worker and a relay run; wait again."

    def run(
        self, team: TeamDefinition, task: str, *, timeout: float = 60.0, on_request: OnRequest | None = None
    ) -> ChatResult:
        """Start a chat and wait until it is over. See ``start_chat`` and ``wait``."""
        return self.wait(self.start_chat(team, task), timeout=timeout, on_request=on_request)

    # --- looking ---

    def view(self, chat: UUID) -> ChatView:
        """The chat as it stands.

        Raises:
            UnknownChat: there is none with that id.
        """
        return self._host.view(chat)

    def transcript(self, chat: UUID) -> Transcript:
        """What was said so far, sub-chats included.

        Raises:
            UnknownChat: there is none with that id.
        """
        return self._host.transcript(chat)

    def missing_messages(self, chat: UUID) -> dict[str, list[int]]:
        """Agent → positions in its mailbox that are not handled although a later one has arrived.

        Empty for a healthy chat.
        """
        return self._host.missing(chat)

    # --- taking part ---

    def say(self, chat: UUID, content: str, *, speaker: str = "user", deduplication_id: str | None = None) -> None:
        """Say something into a chat from outside; the members see it at their next turns.

        Args:
            chat: its id.
            content: what is said.
            speaker: who says it.
            deduplication_id: saying it again with the same one says nothing more.
        """
        self._host.tell(chat, SAY, {"content": content, "speaker": speaker}, deduplication_id=deduplication_id)

    def pending_approvals(self, chat: UUID | None = None) -> Sequence[PersonRequest]:
        """What waits for a person, in one chat or in all, the oldest first; at most 1,000."""
        return self._host.requests(chat)

    def answer_approval(self, approval: UUID, *, approved: bool = True, text: str = "", by: str = "") -> None:
        """Answer for a person.

        Args:
            approval: the request's id.
            approved: yes or no.
            text: a comment; for an input what is said, for the choice of a speaker its name.
            by: who answers.

        Raises:
            UnknownApproval: there is none with that id.
            ApprovalClosed: it was answered or withdrawn before.
        """
        self._host.answer(approval, approved=approved, text=text, by=by)

    # --- steering ---

    def stop(self, chat: UUID) -> None:
        """Ask for the end: the turns that are open are still answered. Meets the condition ``External``."""
        self._host.tell(chat, STOP, None)

    def pause(self, chat: UUID, reason: str = "") -> None:
        """Hold everything in a chat that is not handled yet."""
        self._host.pause(chat, reason)

    def resume(self, chat: UUID) -> None:
        """Let a paused or parked chat go on where it was."""
        self._host.resume(chat)

    def cancel(self, chat: UUID, reason: str = "cancelled") -> None:
        """End a chat at once. What is still said in it is dropped."""
        self._host.cancel(chat, reason)

    def fork(self, chat: UUID, *, after: int, say: str | None = None) -> UUID:
        """Start another chat that goes on behind a message of this one, which stays as it is.

        Args:
            chat: any chat, over or not.
            after: number of the last message that is taken over.
            say: something to say first, to let it take another course.

        Returns:
            The new chat's id.

        Raises:
            ChatError: there was no choice of speakers behind that message (it is one of several that were said at
                once).
        """
        return self._host.fork(chat, after, say)


class ReliableNexusGroupChatManager(NexusGroupChatManager):
    """Runs group chats through the log: they survive any crash and any deploy, and go on by themselves.

    Args:
        bus: a durable bus; a new one by default. With a bus in legacy mode it is a ``NexusGroupChatManager``.
    """

    def _default_bus(self) -> CommunicationBus:
        return ReliableCommunicationBus()

    def _make_host(self) -> ChatHost:
        if isinstance(self.bus, ReliableCommunicationBus) and not self.bus.legacy_mode:
            return DurableHost(self.bus)
        return super()._make_host()


def meant(unknown: Sequence[str]) -> str:
    """Names that nobody has, each with the one that was meant, perhaps."""
    known = [spec.name for spec in registry]
    return ", ".join(
        f"{name!r}{hint and f' ({hint.strip()})'}" for name in unknown for hint in [did_you_mean(name, known)]
    )
