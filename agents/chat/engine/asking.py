"""Members that ask each other within a turn, and circles of members that wait for each other.

A member that asked waits; as long as it waits it is asked nothing itself (the question is queued). So a circle of
questions would wait for ever. It is found the moment that a question would close it, and resolved as the team's
``on_deadlock`` says.
"""

from __future__ import annotations

from agents.chat.engine.frame import Frame
from agents.chat.engine.state import Wait
from agents.chat.rules.definitions import OnDeadlock
from agents.chat.rules.messages import Entry, Kind, Question


def ask(frame: Frame, wait: Wait, question: Question) -> bool:
    """Put a member's question to another member.

    Args:
        frame: the chat.
        wait: the turn of the one who asks.
        question: what, and whom.

    Returns:
        False when the member has asked too often; its question then stands as what it says.
    """
    wait.questions += 1
    allowed = frame.team.limits.questions
    if wait.questions > allowed + 1:
        return False
    frame.append(
        Entry(
            number=0,
            speaker=wait.speaker,
            content=question.content,
            kind=Kind.QUESTION,
            turn=wait.turn,
            data={"to": question.to},
        )
    )
    if wait.questions > allowed:
        _answer_yourself(frame, wait, f"You may ask {allowed} questions in a turn. Answer without asking further.")
    elif frame.team.member(question.to) is None or question.to == wait.speaker:
        others = ", ".join(member.name for member in frame.team.members if member.name != wait.speaker)
        _answer_yourself(frame, wait, f"{question.to!r} cannot be asked. You can ask {others}.")
    elif not _resolve_deadlock(frame, wait, question):
        asked = frame.add_question(wait, question)
        if _blocked(frame, question.to):
            asked.queued, asked.deadline = True, frame.now + frame.team.limits.turn_timeout
        else:
            frame.launch(asked)
    return True


def _answer_yourself(frame: Frame, wait: Wait, prompt: str) -> None:
    wait.prompt = prompt
    frame.send_turn(wait)


def _blocked(frame: Frame, speaker: str) -> Wait | None:
    """The turn in which a member waits for an answer."""
    return next((wait for wait in frame.state.waits if wait.speaker == speaker and wait.waits_for is not None), None)


def _circle(frame: Frame, asker: str, asked: str) -> list[Wait]:
    """The questions that together with this one would form a circle; empty when there is none."""
    questions: list[Wait] = []
    for _ in range(len(frame.state.waits)):
        blocked = _blocked(frame, asked)
        if blocked is None or blocked.waits_for is None:
            return []
        question = frame.wait(blocked.waits_for)
        questions.append(question)
        if question.speaker == asker:
            return questions
        asked = question.speaker
    return []


def _resolve_deadlock(frame: Frame, wait: Wait, question: Question) -> bool:
    """Whether the question must not be put, because it would close a circle that the policy resolved so."""
    circle = _circle(frame, wait.speaker, question.to)
    if not circle:
        return False
    chain = " → ".join([wait.speaker, question.to, *(item.speaker for item in circle)])
    policy = frame.team.limits.on_deadlock
    if policy is OnDeadlock.END:
        frame.end(f"deadlock: {chain}")
        return True
    if policy is OnDeadlock.REFUSE:
        frame.note(f"Deadlock avoided ({chain}): {wait.speaker} does not ask {question.to}.")
        _answer_yourself(frame, wait, f"{question.to} waits for your answer. Answer without asking {question.to}.")
        return True
    oldest = min(circle, key=lambda item: item.turn)
    asker = frame.wait(oldest.asked_by or 0)
    frame.note(f"Deadlock avoided ({chain}): {asker.speaker} does not wait for {oldest.speaker} any longer.")
    frame.let_go(oldest, f"{oldest.speaker} cannot answer you. Answer without.")
    return False
