"""People in a chat: what becomes of their answers."""

from __future__ import annotations

import msgspec

from agents.chat.engine.frame import Frame
from agents.chat.engine.state import Purpose, Wait
from agents.chat.rules.definitions import OnApprovalTimeout, OnRejection
from agents.chat.rules.messages import Entry, Kind


def answer(frame: Frame, wait: Wait, *, approved: bool, text: str, by: str) -> None:
    """A person has answered. See ``ChatStep.answer``."""
    if wait.purpose is Purpose.SPEAKER:
        frame.chosen(wait, text if frame.team.member(text) else None)
    elif wait.purpose is Purpose.APPROVAL:
        (_approve if approved else _reject)(frame, wait, by, text)
    elif approved or text:
        entry = Entry(
            number=0, speaker=wait.speaker, content=text, kind=Kind.HUMAN, turn=wait.turn, approved_by=by or None
        )
        frame.resolve(wait, entry)
    else:
        frame.note(f"{wait.speaker} has nothing to say.")
        frame.resolve(wait, None)


def expire(frame: Frame, wait: Wait) -> None:
    """Nobody has answered in time."""
    policy = frame.team.limits.on_approval_timeout
    frame.scene.effects.withdrawn.append(wait.key)
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
    frame.append(Entry(number=0, speaker=by or "person", content=content, kind=Kind.REJECTION, turn=wait.turn))
    if limits.on_rejection is OnRejection.END:
        frame.end(f"{by or 'a person'} rejected what {wait.speaker} said")
    elif limits.on_rejection is OnRejection.RETRY and wait.rejections < limits.attempts:
        wait.prompt = content
        frame.launch(wait)
    else:
        frame.resolve(wait, None)
