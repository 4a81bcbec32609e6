"""A support team that hands a customer from one to the next, and a refund that waits for a person through a power cut.

The triage agent hands over to billing or to tech; billing proposes a refund, which its team leader must approve.
While the approval waits, everything is killed and started again. Then the leader answers, and the chat goes on where
it was.

In an installation the answer comes from the admin (Approvals), from manager.answer_approval, or days later.

    python examples/support_triage.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.harness.embedded import prepare, running

prepare(__file__)

from agents import (
    ApprovalRequest,
    ByHandoff,
    Limits,
    MaxMessages,
    Member,
    ReliableNexusGroupChatManager,
    Reply,
    StopMessage,
    TeamDefinition,
    Turn,
    chat_member,
)


@chat_member("triage")
async def triage(turn: Turn) -> Reply:
    """Finds out who can help."""
    about_money = any(word in turn.task.lower() for word in ("charged", "invoice", "refund"))
    specialist = "billing" if about_money else "tech"
    return Reply(content=f"This is for {specialist}.", handoff=specialist)


@chat_member("billing")
async def billing(turn: Turn) -> Reply:
    """Invoices and refunds."""
    if turn.prompt:  # the leader rejected the first proposal, and said why
        return Reply(content=f"I offer a voucher instead ({turn.prompt}).", handoff="closing")
    return Reply(
        content="I refund 240 EUR for order 4711.",
        handoff="closing",
        approval=ApprovalRequest("Refund 240 EUR? The limit without approval is 100 EUR.", options=("yes", "no")),
    )


@chat_member("tech")
async def tech(turn: Turn) -> Reply:
    """Everything that does not work."""
    return Reply(content="Please restart the router.", handoff="closing")


@chat_member("closing")
async def closing(turn: Turn) -> Reply:
    """Writes to the customer."""
    return Reply(content=f"Dear customer, good news: {turn.last} Kind regards", stop=True)


TEAM = TeamDefinition(
    name="support",
    members=(
        Member(name="triage", description="finds out who can help", handoffs=("billing", "tech")),
        Member(name="billing", description="invoices and refunds", handoffs=("closing",)),
        Member(name="tech", description="everything that does not work", handoffs=("closing",)),
        Member(name="closing", description="writes to the customer"),
    ),
    selection=ByHandoff(first="triage"),
    termination=StopMessage() | MaxMessages(12),
    limits=Limits(turn_timeout=60, approval_timeout=7 * 24 * 3600),
)


def main() -> None:
    """Serve one customer."""
    with running(__file__) as nexus:
        manager = ReliableNexusGroupChatManager(nexus.bus)
        chat = manager.start_chat(TEAM, "I was charged twice for order 4711!")
        deadline = time.monotonic() + 60
        while not manager.pending_approvals(chat) and time.monotonic() < deadline:
            time.sleep(0.1)

        print("Billing waits for its leader. Killing the worker and the relay …")
        nexus.kill()
        nexus.start()
        (request,) = manager.pending_approvals(chat)
        print(f"Started again. Still waiting: {request.question}\n    {request.member}: {request.content}")
        manager.answer_approval(request.id, approved=True, text="last time this year", by="leader")
        result = manager.wait(chat, timeout=60)

    print(f"\n{result.transcript.to_markdown()}\n\n{result.status}: {result.reason}")
    if [entry.speaker for entry in result.transcript] != ["user", "triage", "billing", "closing"]:
        raise SystemExit("The chat went another way than expected.")


if __name__ == "__main__":
    main()
