"""Two language models debate, a third one judges. The models are scripted here: put an OpenAIClient in instead.

Each agent is an ordinary AssistantAgent; what makes the debate is the team: who speaks when, and when it ends. The
chat is durable, so a kill of any process in the middle changes nothing but the time it takes. The same team in legacy
mode, in this process alone, says the same.

    python examples/debate.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.harness.embedded import prepare, running

prepare(__file__)

from agents import (
    AgentTeamBuilder,
    AssistantAgent,
    ByFunction,
    Choosing,
    MaxMessages,
    Member,
    ScriptedClient,
    TeamDefinition,
    TextMention,
    chat_function,
)
from messaging.api import CommunicationBus

PRO = [
    "Every service should own its database: schemas then change at the pace of one team.",
    "Reports across services are rare and can be built from events; a shared schema freezes everyone, every day.",
]
CON = [
    "A shared database gives joins and transactions for free; rebuilding both by hand costs more than it saves.",
    "Events bring eventual consistency. Our customers saw two different balances last month.",
]
JUDGE = ["Both name a real cost, but only one of them is paid daily. VERDICT: pro wins."]

AssistantAgent("pro", ScriptedClient(PRO), instructions="Argue for the motion.", prices=(2.0, 8.0)).register()
AssistantAgent("con", ScriptedClient(CON), instructions="Argue against the motion.", prices=(2.0, 8.0)).register()
AssistantAgent("judge", ScriptedClient(JUDGE), instructions="Weigh both sides, then say VERDICT: …").register()


@chat_function("debate-order")
def debate_order(view: Choosing) -> str:
    """Two rounds of pro and con, then the judge."""
    return ("pro", "con")[view.rounds % 2] if view.rounds < 4 else "judge"


TEAM = TeamDefinition(
    name="debate",
    members=(
        Member(name="pro", description="argues for the motion"),
        Member(name="con", description="argues against it"),
        Member(name="judge", description="decides"),
    ),
    selection=ByFunction("debate-order"),
    termination=TextMention("VERDICT", sources=("judge",)) | MaxMessages(20),
)
MOTION = "This house believes that every service should have its own database."


def main() -> None:
    """Hold the debate twice: durably, and in this process."""
    with running(__file__) as nexus:
        durable = AgentTeamBuilder(nexus.bus)
        result = durable.run_team_chat(TEAM, MOTION)
        report = durable.get_team_report(result.chat)
    print(result.transcript.to_markdown())
    print(f"\n{result.status}: {result.reason}; {report.usage.tokens} tokens, {report.usage.cost:.6f} spent")

    legacy = AgentTeamBuilder(CommunicationBus()).run_team_chat(TEAM, MOTION)
    same = legacy.transcript.pairs() == result.transcript.pairs()
    print(f"The same team in legacy mode says {'the same' if same else 'SOMETHING ELSE'}.")
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
