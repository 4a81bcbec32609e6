"""People in a chat: what they are asked, and what becomes of their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agents.chat.messages import Kind, Said
from agents.chat.state import Purpose, Wait, WaitKind
from agents.team.definitions import OnApprovalTimeout, OnRejection

if TYPE_CHECKING:
    from agents.chat.frame import Frame


def request(frame: Frame, wait: Wait, purpose: Purpose, question: str, options: tuple[str, ...] = ()) -> None:
    """Ask a person.

    Args:
        frame: the chat.
        wait: what the answer will end.
        purpose: what for.
        question: what the person is asked.
        options: answers to choose from.
    """
    wait.kind, wait.purpose = WaitKind.PERSON, purpose
    wait.deadline = frame.now + frame.team.limits.approval_timeout
    frame.step.effects.request(frame, wait, question, options)


def answer(frame: Frame, wait: Wait, *, approved: bool, text: str, by: str) -> None:
    """A person has answered. See ``Step.answer``."""
    if wait.purpose is Purpose.SPEAKER:
        frame.chosen(wait, text if frame.team.member(text) else None)
    elif wait.purpose is Purpose.APPROVAL:
        (_approve if approved else _reject)(frame, wait, by, text)
    elif approved or text:
        said = Said(
            number=0, speaker=wait.speaker, content=text, kind=Kind.HUMAN, turn=wait.turn, approved_by=by or None
        )
        frame.resolve(wait, said)
    else:
        frame.note(f"{wait.speaker} has nothing to say.")
        frame.resolve(wait, None)


def expire(frame: Frame, wait: Wait) -> None:
    """Nobody has answered in time."""
    policy = frame.team.limits.on_approval_timeout
    frame.step.effects.withdrawn.append(wait.key)
    if policy is OnApprovalTimeout.END:
        frame.end("nobody answered in time")
    elif wait.purpose is Purpose.SPEAKER:
        frame.note("Nobody chose the next speaker in time.")
        frame.chosen(wait, None)
    elif wait.purpose is Purpose.INPUT:
        frame.note(f"{wait.speaker} did not answer in time.")
        frame.resolve(wait, None)
    elif policy is OnApprovalTimeout.APPROVE:
        _approve(frame, wait, "nobody", "nobody answered in time")
    else:
        _reject(frame, wait, "nobody", "nobody answered in time")


def _approve(frame: Frame, wait: Wait, by: str, comment: str) -> None:
    if wait.answer is not None:
        frame.resolve(wait, msgspec.structs.replace(wait.answer, approved_by=by, comment=comment))


def _reject(frame: Frame, wait: Wait, by: str, comment: str) -> None:
    limits = frame.team.limits
    wait.rejections += 1
    content = comment or "rejected"
    frame.append(Said(number=0, speaker=by or "person", content=content, kind=Kind.REJECTION, turn=wait.turn))
    if limits.on_rejection is OnRejection.END:
        frame.end(f"{by or 'a person'} rejected what {wait.speaker} said")
    elif limits.on_rejection is OnRejection.RETRY and wait.rejections < limits.attempts:
        wait.prompt = content
        frame.launch(wait)
    else:
        frame.resolve(wait, None)
