"""One step of a chat: a state and something that happened make a new state and what is to be done.

Nothing here reads a clock, a database or a network, so the same events make the same chat in every mode, and a step
that was rolled back by a crash is simply made again.

    step = ChatStep(team, state, history, now)
    step.said("critic", {"turn": 3, "content": "too long"})     # or start, say, stop, answer, wake, proceed
    step.effects                                                # messages to send, entries to store, people to ask
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.chat.engine import people
from agents.chat.engine.effects import Effects, Scene
from agents.chat.engine.frame import Frame
from agents.chat.engine.replies import answered
from agents.chat.engine.state import ChatState, Status, Wait, WaitKind
from agents.chat.rules.definitions import OnTimeout, TeamDefinition
from agents.chat.rules.messages import Entry, Kind, read_reply

ENVELOPE_BYTES = 2_048
"""Of a message, beside its data, at most."""
MIN_TURN_BYTES = 1_024
GRACE = 10.0
"""Seconds. What is noticed later than this passed while nobody could answer: everything was down, or paused."""
MAX_POSTPONEMENTS = 10
"""How often a deadline is set anew for that reason."""


class ChatStep:
    """Moves a chat on.

    Args:
        team: its definition.
        state: its state; changed in place.
        history: path → the last entries of the transcript there; extended in place.
        now: seconds since the epoch.
        max_message_bytes: how long a message may be.
    """

    def __init__(
        self,
        team: TeamDefinition,
        state: ChatState,
        history: dict[str, list[Entry]],
        now: float,
        *,
        max_message_bytes: int = 262_144,
    ) -> None:
        self._scene = Scene(now, max(MIN_TURN_BYTES, max_message_bytes - ENVELOPE_BYTES), history)
        self._root = Frame(self._scene, "", team, state)

    @property
    def effects(self) -> Effects:
        """What is to be done."""
        return self._scene.effects

    def frames(self) -> Iterator[Frame]:
        """The chat and every sub-chat that goes on."""
        waiting = [self._root]
        while waiting:
            frame = waiting.pop(0)
            yield frame
            waiting += frame.children()

    @property
    def over(self) -> bool:
        return self._root.state.status is not Status.RUNNING

    # --- what can happen ---

    def start(self, task: str) -> None:
        """The chat begins."""
        self._root.start(task)
        self._scene.finish()

    def proceed(self) -> None:
        """A fork of a chat goes on."""
        self._root.state.started_at = self._scene.now
        self._root.proceed()
        self._scene.finish()

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
                    answered(frame, wait, reply)
                    self._scene.finish()
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
            self._root.append(Entry(number=0, speaker=speaker, content=content, kind=Kind.HUMAN))

    def stop(self) -> None:
        """Somebody outside asks for the end, which comes when the turns that are open have been answered."""
        self._root.state.stop_requested = True
        if not self._root.state.waits:
            self._root.proceed()
        self._scene.finish()

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
                    self._scene.finish()
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
            if (
                seconds is not None
                and self._scene.now - frame.state.started_at >= seconds
                and (reason := frame.ending())
            ):
                frame.end(reason)
                continue
            for wait in list(frame.state.waits):
                due = wait.deadline and wait.deadline <= self._scene.now
                if silent and wait.kind is not WaitKind.PERSON and wait.deadline:
                    due = True
                if due and not wait.done and wait in frame.state.waits:
                    self._expire(frame, wait, silent=silent)
        self._scene.finish()

    def _expire(self, frame: Frame, wait: Wait, *, silent: bool) -> None:
        limits = frame.team.limits
        if wait.kind is WaitKind.PERSON:
            people.expire(frame, wait)
        elif not silent and self._scene.now - wait.deadline > GRACE and wait.postponed < MAX_POSTPONEMENTS:
            wait.postponed += 1
            wait.deadline = self._scene.now + limits.turn_timeout
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
