"""One step of a chat: a state and something that happened make a new state and what is to be done.

Nothing here reads a clock, a database or a network, so the same events make the same chat in every mode, and a step
that was rolled back by a crash is simply made again.

    step = Step(team, state, history, now)
    step.said("critic", {"turn": 3, "content": "too long"})     # or start, say, stop, answer, wake, proceed
    step.effects                                                # messages to send, entries to store, people to ask
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.chat import people
from agents.chat.frame import Frame
from agents.chat.messages import Kind, Said, read_reply
from agents.chat.state import ChatState, Purpose, Status, Wait, WaitKind
from agents.team.definitions import OnTimeout, TeamDefinition

GRACE = 10.0
"""Seconds. A deadline that is noticed later than this passed while nobody could answer (everything was down, or
paused)."""
POSTPONEMENTS = 10
"""How often a deadline is set anew for that reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A person is to be asked.

    Args:
        key: unique in the chat.
        path: of the chat within the chat.
        purpose: what for.
        member: whose turn it is; "" when a speaker is to be chosen.
        question: what the person is asked.
        content: what the member wants to say, for an approval.
        options: answers to choose from; for ``SPEAKER`` only these are valid.
        deadline: seconds since the epoch.
    """

    key: str
    path: str
    purpose: Purpose
    member: str
    question: str
    content: str
    options: tuple[str, ...]
    deadline: float


@dataclass(slots=True)
class Effects:
    """What is to be done after a step, all of it or nothing.

    Args:
        sends: (agent, message type, data).
        entries: (path, entry of the transcript).
        snapshots: entry number → the state right behind it, from which the chat can be forked.
        requests: people to ask.
        withdrawn: keys of requests that need no answer any more.
        ended: the whole chat is over.
        ignored: answers that came too late or from the wrong agent.
    """

    sends: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    entries: list[tuple[str, Said]] = field(default_factory=list)
    snapshots: dict[int, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    ended: bool = False
    ignored: list[str] = field(default_factory=list)

    def request(self, frame: Frame, wait: Wait, question: str, options: tuple[str, ...]) -> None:
        """Note that a person is to be asked for a wait."""
        wait.key = f"{frame.path}#{wait.turn}.{wait.rejections}"
        purpose = wait.purpose or Purpose.INPUT
        content = wait.answer.content if wait.answer is not None else ""
        if purpose is Purpose.SPEAKER:
            options = tuple(member.name for member in frame.team.members)
        if not content and frame.history:
            content = frame.history[-1].content
        self.requests.append(
            Request(
                key=wait.key,
                path=frame.path,
                purpose=purpose,
                member=wait.speaker,
                question=question,
                content=content,
                options=options,
                deadline=wait.deadline,
            )
        )


class Step:
    """Moves a chat on.

    Args:
        team: its definition.
        state: its state; changed in place.
        history: path → the last entries of the transcript there; extended in place.
        now: seconds since the epoch.
    """

    def __init__(self, team: TeamDefinition, state: ChatState, history: dict[str, list[Said]], now: float) -> None:
        self.now = now
        self.history = history
        self.effects = Effects()
        self._later: deque[Callable[[], None]] = deque()
        self.root = Frame(self, "", team, state)

    def later(self, action: Callable[[], None]) -> None:
        """Do something at the end of the step. Sub-chats that end at once must not pile up on the stack."""
        self._later.append(action)

    def _finish(self) -> None:
        while self._later:
            self._later.popleft()()

    def frames(self) -> Iterator[Frame]:
        """The chat and every sub-chat that goes on."""
        waiting = [self.root]
        while waiting:
            frame = waiting.pop(0)
            yield frame
            waiting += frame.children()

    @property
    def over(self) -> bool:
        return self.root.state.status is not Status.RUNNING

    # --- what can happen ---

    def start(self, task: str) -> None:
        """The chat begins."""
        self.root.start(task)
        self._finish()

    def proceed(self) -> None:
        """A fork of a chat goes on."""
        self.root.state.started_at = self.now
        self.root.proceed()
        self._finish()

    def said(self, agent: str, data: Any) -> None:
        """An agent answered.

        Args:
            agent: the message's sender.
            data: the message's data.
        """
        reply = read_reply(data)
        for frame in self.frames():
            if reply.turn is not None and frame.path != reply.chat:
                continue
            for wait in frame.state.waits:
                if self._answers(frame, wait, agent) and reply.turn in (None, wait.turn):
                    frame.answered(wait, reply)
                    self._finish()
                    return
        self.effects.ignored.append(f"{agent} answered turn {reply.turn}, which is not open")

    @staticmethod
    def _answers(frame: Frame, wait: Wait, agent: str) -> bool:
        if wait.done or wait.queued or wait.waits_for is not None:
            return False
        if wait.kind is WaitKind.SELECT:
            return agent == getattr(frame.team.selection, "agent", None)
        if wait.kind is WaitKind.PERSON or str(wait.turn) in frame.state.children:
            return False
        return frame.member(wait).agent_name == agent

    def say(self, content: str, speaker: str = "user") -> None:
        """Somebody outside says something into the chat. The members see it at their next turns."""
        if not self.over:
            self.root.append(Said(number=0, speaker=speaker, content=content, kind=Kind.HUMAN))

    def stop(self) -> None:
        """Somebody outside asks for the end, which comes when the turns that are open have been answered."""
        self.root.state.stop_requested = True
        if not self.root.state.waits:
            self.root.proceed()
        self._finish()

    def answer(self, key: str, *, approved: bool, text: str, by: str) -> None:
        """A person answered.

        Args:
            key: of the request.
            approved: yes or no.
            text: what the person says: the input, the speaker's name, or a comment.
            by: who.
        """
        for frame in self.frames():
            for wait in frame.state.waits:
                if wait.key == key and wait.kind is WaitKind.PERSON and not wait.done:
                    people.answer(frame, wait, approved=approved, text=text, by=by)
                    self._finish()
                    return
        self.effects.ignored.append(f"{by} answered {key}, which is not open")

    # --- deadlines ---

    def next_deadline(self) -> float | None:
        """When ``wake`` is to be called next, in seconds since the epoch."""
        if self.over:
            return None
        deadlines = [
            wait.deadline for frame in self.frames() for wait in frame.state.waits if wait.deadline and not wait.done
        ]
        for frame in self.frames():
            seconds = frame.team.termination.seconds() if frame.team.termination else None
            if seconds is not None and frame.now < (end := frame.state.started_at + seconds):
                deadlines.append(end)
        return min(deadlines, default=None)

    def wake(self, *, silent: bool = False) -> None:
        """Do what is due.

        Args:
            silent: nothing is on its way any more, so every turn that is open will get no answer (in-process mode).
        """
        for frame in list(self.frames()):
            if frame.state.status is not Status.RUNNING:
                continue
            seconds = frame.team.termination.seconds() if frame.team.termination else None
            if seconds is not None and self.now - frame.state.started_at >= seconds and (reason := frame.ending()):
                frame.end(reason)
                continue
            for wait in list(frame.state.waits):
                due = wait.deadline and wait.deadline <= self.now
                if silent and wait.kind is not WaitKind.PERSON and wait.deadline:
                    due = True
                if due and not wait.done and wait in frame.state.waits:
                    self._expire(frame, wait, silent=silent)
        self._finish()

    def _expire(self, frame: Frame, wait: Wait, *, silent: bool) -> None:
        limits = frame.team.limits
        if wait.kind is WaitKind.PERSON:
            people.expire(frame, wait)
        elif not silent and self.now - wait.deadline > GRACE and wait.postponed < POSTPONEMENTS:
            wait.postponed += 1
            wait.deadline = self.now + limits.turn_timeout
        elif wait.kind is WaitKind.SELECT:
            frame.note("Nobody chose the next speaker in time.")
            frame.chosen(wait, None)
        elif limits.on_timeout is OnTimeout.RETRY and wait.attempt < limits.attempts and not wait.queued:
            wait.attempt += 1
            frame.send_turn(wait)
        elif limits.on_timeout is OnTimeout.END:
            frame.end(f"{wait.speaker} did not answer in time")
        else:
            frame.note(f"{wait.speaker} did not answer in time.")
            frame.resolve(wait, None)
