"""What becomes of an agent's reply."""

from __future__ import annotations

from agents.chat.engine.asking import ask
from agents.chat.engine.frame import Frame
from agents.chat.engine.state import Purpose, Wait, WaitKind
from agents.chat.rules.messages import Entry, Reply
from agents.chat.rules.speakers import find_name
from messaging.extension import cut_text


def answered(frame: Frame, wait: Wait, reply: Reply) -> None:
    """A member, or the agent that chooses, has answered."""
    frame.spend(reply.usage)
    if wait.kind is WaitKind.SELECT:
        name = find_name(reply.content, wait.candidates)
        said = cut_text(reply.content.strip(), 200)
        if name is None:
            candidates = ", ".join(wait.candidates)
            frame.note(f"The selector named nobody of {candidates}: {said!r}. The next in order speaks.")
        elif name != said:
            frame.scene.effects.remarks.append(f"the selector said {said!r}, which was taken as {name!r}")
        frame.chosen(wait, name)
        return
    if reply.ask is not None and ask(frame, wait, reply.ask):
        return
    entry = Entry(
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
    if reply.approval is None and not frame.member(wait).approval:
        frame.resolve(wait, entry)
        return
    wait.answer = entry
    question = (reply.approval.question if reply.approval else "") or f"May {wait.speaker} say this?"
    frame.ask_person(wait, Purpose.APPROVAL, question, reply.approval.options if reply.approval else ())
