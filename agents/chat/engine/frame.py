"""One chat within a step: the chat itself or a sub-chat. See ``agents.chat.engine.step``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agents.chat.engine.effects import Request, Scene
from agents.chat.engine.ending import reason_to_end, result_of
from agents.chat.engine.state import ChatState, Purpose, Status, Wait, WaitKind
from agents.chat.engine.turns import make_turn, selection_prompt, task_for
from agents.chat.rules.definitions import Member, TeamDefinition
from agents.chat.rules.messages import NOTHING_USED, SELECT, TURN, Entry, Kind, Question, Usage, plain
from agents.chat.rules.speakers import AskPerson, AskSelector, Choosing, Speak


class Frame:
    """A chat that is being moved on.

    Args:
        scene: what it shares with the chats around it.
        path: "" for the chat itself.
        team: its definition.
        state: its state; changed in place.
        parent: the chat that it is a member of.
        parent_turn: its turn there.
    """

    def __init__(
        self,
        scene: Scene,
        path: str,
        team: TeamDefinition,
        state: ChatState,
        parent: Frame | None = None,
        parent_turn: int = 0,
    ) -> None:
        self.scene = scene
        self.path = path
        self.team = team
        self.state = state
        self.parent = parent
        self.parent_turn = parent_turn
        self.history = scene.history.setdefault(path, [])

    # --- looking ---

    @property
    def now(self) -> float:
        return self.scene.now

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
                yield Frame(self.scene, self._child_path(turn), team, state, self, int(turn))

    def _child_path(self, turn: str) -> str:
        return f"{self.path}.{turn}" if self.path else turn

    def _choosing(self) -> Choosing:
        return Choosing(
            members=[member.candidate() for member in self.team.members],
            rounds=self.state.rounds,
            messages=self.history[-self.team.limits.history :],
            last=next((entry for entry in reversed(self.history) if entry.is_speech), None),
            last_turns=self.state.last_turns,
        )

    # --- speaking ---

    def note(self, text: str) -> None:
        """Add a notice to the transcript."""
        self.append(Entry(number=0, speaker="chat", content=text, kind=Kind.NOTICE))

    def append(self, entry: Entry) -> None:
        """Add an entry to the transcript."""
        self.state.count += 1
        entry = msgspec.structs.replace(entry, number=self.state.count, at=self.now)
        self.history.append(entry)
        self.scene.effects.entries.append((self.path, entry))

    def spend(self, usage: Usage) -> None:
        """Count what was consumed, here and in every chat that this one is part of."""
        if usage != NOTHING_USED:
            for frame in self.ancestors():
                frame.state.usage += usage

    # --- going on ---

    def start(self, task: str) -> None:
        """Begin with a task."""
        self.state.task, self.state.started_at = task, self.now
        self.append(Entry(number=0, speaker="user", content=task, kind=Kind.TASK))
        self.scene.later(self.proceed)

    def ending(self) -> str | None:
        """Why the chat is to end now, or None."""
        return reason_to_end(self.team, self.state, self.history, self.now)

    def proceed(self) -> None:
        """Nothing is waited for: end, or choose who speaks next."""
        if self.state.status is not Status.RUNNING:
            return
        if self.parent is None:
            self.scene.effects.snapshots[self.state.count] = self.state.encode()
        for frame in self.ancestors():
            if reason := frame.ending():
                frame.end(reason)
                return
        choice = self.team.selection.choose(self._choosing())
        if isinstance(choice, Speak):
            self._speak(choice)
        elif isinstance(choice, AskSelector):
            self._ask_selector(choice)
        elif isinstance(choice, AskPerson):
            self.ask_person(self._add(WaitKind.PERSON), Purpose.SPEAKER, "Who speaks next?")

    def choose_anyway(self) -> None:
        """Choose without the one who was asked to."""
        self._speak(self.team.selection.fall_back(self._choosing()))

    def _speak(self, choice: Speak) -> None:
        if choice.note:
            self.note(choice.note)
        if choice.remark:
            self.scene.effects.remarks.append(choice.remark)
        self._give_turns(choice.names)

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
            self.ask_person(wait, Purpose.INPUT, wait.prompt or f"{member.name}, it is your turn.")
        elif member.team is not None:
            state = ChatState()
            self.state.children[str(wait.turn)] = state
            Frame(self.scene, self._child_path(str(wait.turn)), member.team, state, self, wait.turn).start(
                task_for(self.state, self.history, wait)
            )
        else:
            self.send_turn(wait)

    def send_turn(self, wait: Wait) -> None:
        """Ask an agent to speak, for the first time or again."""
        member = self.member(wait)
        wait.kind, wait.purpose, wait.answer = WaitKind.TURN, None, None
        wait.deadline = self.now + self.team.limits.turn_timeout
        turn = make_turn(
            self.team,
            self.state,
            self.history,
            wait,
            path=self.path,
            max_bytes=self.scene.max_bytes,
            handoffs=member.handoffs,
        )
        self.scene.effects.sends.append((member.agent_name, TURN, plain(turn)))

    def _ask_selector(self, choice: AskSelector) -> None:
        wait = self._add(WaitKind.SELECT)
        wait.candidates, wait.deadline = choice.candidates, self.now + self.team.limits.turn_timeout
        wait.prompt = selection_prompt(self.team, choice.candidates)
        turn = make_turn(
            self.team,
            self.state,
            self.history,
            wait,
            path=self.path,
            max_bytes=self.scene.max_bytes,
            candidates=choice.candidates,
        )
        self.scene.effects.sends.append((choice.agent, SELECT, plain(turn)))

    def ask_person(self, wait: Wait, purpose: Purpose, question: str, options: tuple[str, ...] = ()) -> None:
        """Ask a person.

        Args:
            wait: what the answer will end.
            purpose: what for.
            question: what the person is asked.
            options: answers to choose from.
        """
        wait.kind, wait.purpose = WaitKind.PERSON, purpose
        wait.deadline = self.now + self.team.limits.approval_timeout
        wait.key = f"{self.path}#{wait.turn}.{wait.rejections}"
        content = wait.answer.content if wait.answer is not None else ""
        if purpose is Purpose.SPEAKER:
            options = tuple(member.name for member in self.team.members)
        if not content and self.history:
            content = self.history[-1].content
        self.scene.effects.requests.append(
            Request(
                key=wait.key,
                path=self.path,
                purpose=purpose,
                member=wait.speaker,
                question=question,
                content=content,
                options=options,
                deadline=wait.deadline,
            )
        )

    # --- answers ---

    def chosen(self, wait: Wait, name: str | None) -> None:
        """The next speaker was chosen, or nobody was."""
        self.state.waits.remove(wait)
        if name is None:
            self.choose_anyway()
        else:
            self._give_turns((name,))

    def resolve(self, wait: Wait, entry: Entry | None) -> None:
        """A turn is over, with an answer or without."""
        wait.done, wait.answer = True, entry
        if wait.asked_by is not None:
            self._answer_question(wait)
            return
        if not all(item.done for item in self.state.waits):
            return
        for item in sorted(self.state.waits, key=lambda item: item.turn):
            if item.answer is not None:
                self.append(item.answer)
                self.state.last_turns[item.speaker] = item.turn
        self.state.waits = []
        self.state.rounds += 1
        self.scene.later(self.proceed)

    def _answer_question(self, asked: Wait) -> None:
        """A question was answered, or will not be: its asker goes on."""
        if asked.answer is not None:
            self.append(asked.answer)
        self.let_go(asked, "" if asked.answer is not None else f"{asked.speaker} did not answer. Go on without.")

    def let_go(self, asked: Wait, prompt: str) -> None:
        """The asker of a question waits no longer, and neither do those who want to ask the asker."""
        self.state.waits.remove(asked)
        asker = self.wait(asked.asked_by or 0)
        asker.waits_for = None
        asker.prompt = prompt
        self.send_turn(asker)
        for wait in list(self.state.waits):
            if wait.queued and wait.speaker == asker.speaker:
                self.launch(wait)

    # --- the end ---

    def end(self, reason: str) -> None:
        """End this chat and the sub-chats in it."""
        self._close(reason)
        if self.parent is None:
            self.scene.effects.ended = True
            return
        wait = self.parent.wait(self.parent_turn)
        del self.parent.state.children[str(self.parent_turn)]
        outcome = {"team": self.team.name, "reason": reason, "messages": self.state.count}
        entry = Entry(
            number=0,
            speaker=wait.speaker,
            content=result_of(self.team, self.history),
            turn=wait.turn,
            data=outcome,
            usage=self.state.usage,
        )
        if self.parent.member(wait).approval:
            wait.answer = entry
            self.parent.ask_person(wait, Purpose.APPROVAL, f"May {wait.speaker} say this?")
        else:
            self.parent.resolve(wait, entry)

    def _close(self, reason: str) -> None:
        for child in self.children():
            child._close(reason)
        for wait in self.state.waits:
            if wait.kind is WaitKind.PERSON and not wait.done:
                self.scene.effects.withdrawn.append(wait.key)
        self.state.status, self.state.reason = Status.ENDED, reason
        self.state.waits, self.state.children = [], {}
