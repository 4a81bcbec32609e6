"""One chat within a step: the chat itself or a sub-chat. See ``agents.chat.step``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from agents.chat import asking, people
from agents.chat.ending import reason_to_end
from agents.chat.messages import NOTHING_USED, SELECT, TURN, Kind, Question, Reply, Said, Usage, plain
from agents.chat.speakers import AskPerson, AskSelector, Choosing, Speak, find_name
from agents.chat.state import ChatState, Purpose, Status, Wait, WaitKind
from agents.chat.turns import make_turn, selection_prompt
from agents.team.definitions import Member, Result, TeamDefinition

if TYPE_CHECKING:
    from agents.chat.step import Step


class Frame:
    """A chat that is being moved on.

    Args:
        step: what it is part of.
        path: "" for the chat itself.
        team: its definition.
        state: its state; changed in place.
        parent: the chat that it is a member of.
        parent_turn: its turn there.
    """

    def __init__(
        self,
        step: Step,
        path: str,
        team: TeamDefinition,
        state: ChatState,
        parent: Frame | None = None,
        parent_turn: int = 0,
    ) -> None:
        self.step = step
        self.path = path
        self.team = team
        self.state = state
        self.parent = parent
        self.parent_turn = parent_turn
        self.history = step.history.setdefault(path, [])

    # --- looking ---

    @property
    def now(self) -> float:
        return self.step.now

    def wait(self, turn: int) -> Wait:
        """The wait of a turn."""
        return next(wait for wait in self.state.waits if wait.turn == turn)

    def member(self, wait: Wait) -> Member:
        """Whose turn it is."""
        member = self.team.member(wait.speaker)
        if member is None:  # a state always belongs to its own definition
            raise LookupError(f"Team {self.team.name!r} has no member {wait.speaker!r}.")
        return member

    def ancestors(self) -> Iterator[Frame]:
        """This chat and those that it is part of, the outermost last."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.parent

    def children(self) -> Iterator[Frame]:
        """The sub-chats that go on in it."""
        for turn, state in list(self.state.children.items()):
            team = self.member(self.wait(int(turn))).team
            if team is not None:
                yield Frame(self.step, self._child_path(turn), team, state, self, int(turn))

    def _child_path(self, turn: str) -> str:
        return f"{self.path}.{turn}" if self.path else turn

    def _choosing(self) -> Choosing:
        return Choosing(
            members=[member.candidate() for member in self.team.members],
            rounds=self.state.rounds,
            messages=self.history[-self.team.limits.history :],
            last=next((said for said in reversed(self.history) if said.is_speech), None),
            last_turns=self.state.last_turns,
        )

    # --- speaking ---

    def note(self, text: str) -> None:
        """Add a notice to the transcript."""
        self.append(Said(number=0, speaker="chat", content=text, kind=Kind.NOTICE))

    def append(self, said: Said) -> None:
        """Add an entry to the transcript."""
        self.state.count += 1
        said = msgspec.structs.replace(said, number=self.state.count, at=self.now)
        self.history.append(said)
        self.step.effects.entries.append((self.path, said))

    def spend(self, usage: Usage) -> None:
        """Count what was consumed, here and in every chat that this one is part of."""
        if usage != NOTHING_USED:
            for frame in self.ancestors():
                frame.state.usage += usage

    # --- going on ---

    def start(self, task: str) -> None:
        """Begin with a task."""
        self.state.task, self.state.started_at = task, self.now
        self.append(Said(number=0, speaker="user", content=task, kind=Kind.TASK))
        self.step.later(self.proceed)

    def ending(self) -> str | None:
        """Why the chat is to end now, or None."""
        return reason_to_end(self.team, self.state, self.history, self.now)

    def proceed(self) -> None:
        """Nothing is waited for: end, or choose who speaks next."""
        if self.state.status is not Status.RUNNING:
            return
        if self.parent is None:
            self.step.effects.snapshots[self.state.count] = self.state.encode()
        for frame in self.ancestors():
            if reason := frame.ending():
                frame.end(reason)
                return
        choice = self.team.selection.choose(self._choosing())
        if isinstance(choice, Speak):
            self._give_turns(choice.names)
        elif isinstance(choice, AskSelector):
            self._ask_selector(choice)
        elif isinstance(choice, AskPerson):
            people.request(self, self._add(WaitKind.PERSON), Purpose.SPEAKER, "Who speaks next?")

    def choose_anyway(self) -> None:
        """Choose without the one who was asked to."""
        self._give_turns(self.team.selection.fall_back(self._choosing()).names)

    def _give_turns(self, names: tuple[str, ...]) -> None:
        if not names:
            self.end("nobody is to speak")
            return
        for wait in [self._add(WaitKind.TURN, name) for name in names]:
            self.launch(wait)

    def _add(self, kind: WaitKind, speaker: str = "") -> Wait:
        self.state.turn += 1
        wait = Wait(turn=self.state.turn, kind=kind, speaker=speaker)
        self.state.waits.append(wait)
        return wait

    def add_question(self, asker: Wait, question: Question) -> Wait:
        """A turn for the member who is asked; not launched yet."""
        wait = self._add(WaitKind.TURN, question.to)
        wait.asked_by, wait.prompt = asker.turn, question.content
        asker.waits_for, asker.deadline = wait.turn, 0.0
        return wait

    def launch(self, wait: Wait) -> None:
        """Give somebody the word: a person, a team or an agent."""
        member = self.member(wait)
        wait.queued = False
        if member.human:
            people.request(self, wait, Purpose.INPUT, wait.prompt or f"{member.name}, it is your turn.")
        elif member.team is not None:
            state = ChatState()
            self.state.children[str(wait.turn)] = state
            Frame(self.step, self._child_path(str(wait.turn)), member.team, state, self, wait.turn).start(
                self._task_for(wait)
            )
        else:
            self.send_turn(wait)

    def _task_for(self, wait: Wait) -> str:
        last = self.history[-1]
        if wait.prompt:
            return wait.prompt
        return last.content if last.kind is Kind.TASK else f"{self.state.task}\n\n{last.speaker}: {last.content}"

    def send_turn(self, wait: Wait) -> None:
        """Ask an agent to speak, for the first time or again."""
        member = self.member(wait)
        wait.kind, wait.purpose, wait.answer = WaitKind.TURN, None, None
        wait.deadline = self.now + self.team.limits.turn_timeout
        turn = make_turn(self.team, self.state, self.history, wait, path=self.path, handoffs=member.handoffs)
        self.step.effects.sends.append((member.agent_name, TURN, plain(turn)))

    def _ask_selector(self, choice: AskSelector) -> None:
        wait = self._add(WaitKind.SELECT)
        wait.candidates, wait.deadline = choice.candidates, self.now + self.team.limits.turn_timeout
        wait.prompt = selection_prompt(self.team, choice.candidates)
        turn = make_turn(self.team, self.state, self.history, wait, path=self.path, candidates=choice.candidates)
        self.step.effects.sends.append((choice.agent, SELECT, plain(turn)))

    # --- answers ---

    def answered(self, wait: Wait, reply: Reply) -> None:
        """A member, or the agent that chooses, has answered."""
        self.spend(reply.usage)
        if wait.kind is WaitKind.SELECT:
            name = find_name(reply.content, wait.candidates)
            self.chosen(wait, name)
            return
        if reply.ask is not None and asking.ask(self, wait, reply.ask):
            return
        said = Said(
            number=0,
            speaker=wait.speaker,
            content=reply.content if reply.ask is None else reply.ask.content,
            turn=wait.turn,
            data=reply.data,
            usage=reply.usage,
            handoff=reply.handoff,
            needs=reply.needs,
            calls=reply.calls,
            stop=reply.stop,
        )
        if reply.approval is None and not self.member(wait).approval:
            self.resolve(wait, said)
            return
        wait.answer = said
        question = (reply.approval.question if reply.approval else "") or f"May {wait.speaker} say this?"
        people.request(self, wait, Purpose.APPROVAL, question, reply.approval.options if reply.approval else ())

    def chosen(self, wait: Wait, name: str | None) -> None:
        """The next speaker was chosen, or nobody was."""
        self.state.waits.remove(wait)
        if name is None:
            self.choose_anyway()
        else:
            self._give_turns((name,))

    def resolve(self, wait: Wait, said: Said | None) -> None:
        """A turn is over, with an answer or without."""
        wait.done, wait.answer = True, said
        if wait.asked_by is not None:
            asking.answer(self, wait)
            return
        if not all(item.done for item in self.state.waits):
            return
        for item in sorted(self.state.waits, key=lambda item: item.turn):
            if item.answer is not None:
                self.append(item.answer)
                self.state.last_turns[item.speaker] = item.turn
        self.state.waits = []
        self.state.rounds += 1
        self.step.later(self.proceed)

    # --- the end ---

    def end(self, reason: str) -> None:
        """End this chat and the sub-chats in it."""
        self._close(reason)
        if self.parent is None:
            self.step.effects.ended = True
            return
        wait = self.parent.wait(self.parent_turn)
        del self.parent.state.children[str(self.parent_turn)]
        outcome = {"team": self.team.name, "reason": reason, "messages": self.state.count}
        said = Said(
            number=0,
            speaker=wait.speaker,
            content=self._result(),
            turn=wait.turn,
            data=outcome,
            usage=self.state.usage,
        )
        if self.parent.member(wait).approval:
            wait.answer = said
            people.request(self.parent, wait, Purpose.APPROVAL, f"May {wait.speaker} say this?")
        else:
            self.parent.resolve(wait, said)

    def _close(self, reason: str) -> None:
        for child in self.children():
            child._close(reason)
        for wait in self.state.waits:
            if wait.kind is WaitKind.PERSON and not wait.done:
                self.step.effects.withdrawn.append(wait.key)
        self.state.status, self.state.reason = Status.ENDED, reason
        self.state.waits, self.state.children = [], {}

    def _result(self) -> str:
        spoken = [said for said in self.history if said.is_speech]
        if self.team.result is Result.ALL:
            return "\n\n".join(f"{said.speaker}: {said.content}" for said in spoken)
        return spoken[-1].content if spoken else ""
