"""A travel team from a YAML definition: a planner, a team within the team whose members work in parallel, and a budget.

The bookers ask three (pretended) services at once and answer together; their chat is a member of the planner's chat.
What they cost counts for the whole trip: once the budget is spent, the chat ends, wherever it is.

    python examples/travel_team.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.harness.embedded import prepare, running

prepare(__file__)

from agents import AgentTeamBuilder, Reply, Turn, Usage, chat_member
from messaging.api import CommunicationBus

TEAM = """
name: travel
members:
  - name: planner
    description: turns wishes into orders for the bookers, and sums up
  - name: bookers
    description: flights, hotels and museums
    team:
      name: bookers
      result: all
      members: [flights, hotels, museums]
      selection: {kind: parallel, groups: [[flights, hotels, museums]]}
      termination: {max_rounds: 1}
termination:
  any:
    - stop_message
    - cost_budget: 0.02
    - max_rounds: 20
limits: {turn_timeout: 60}
"""


@chat_member("planner")
async def planner(turn: Turn) -> Reply:
    """Plans."""
    rounds = sum(entry.speaker == "bookers" for entry in turn.messages)
    if rounds < 2:
        days = ("Friday to Sunday", "Saturday to Monday")[rounds]
        return Reply(content=f"Book Rome, {days}.", usage=Usage(200, 20, 0.002))
    return Reply(content="Saturday to Monday is cheaper. Have a good trip!", stop=True, usage=Usage(300, 30, 0.003))


def booker(name: str, offers: dict[str, str]) -> None:
    """Register an agent that offers something for some days."""

    async def offer(turn: Turn) -> Reply:
        found = next((text for days, text in offers.items() if days in turn.task), "nothing")
        return Reply(content=found, usage=Usage(100, 10, 0.001))

    chat_member(name, description=f"offers {name}")(offer)


booker("flights", {"Friday": "AZ 411, 220 EUR", "Saturday": "AZ 417, 140 EUR"})
booker("hotels", {"Friday": "Roma, 2 nights, 260 EUR", "Saturday": "Roma, 2 nights, 210 EUR"})
booker("museums", {"Friday": "Vatican, Saturday 9:00", "Saturday": "Vatican, Monday 9:00"})


def main() -> None:
    """Plan a trip durably, plan it again in this process, and again with too small a budget."""
    with running(__file__) as nexus:
        durable = AgentTeamBuilder(nexus.bus)
        result = durable.run_team_chat(TEAM, "A weekend in Rome, please.")
        report = durable.get_team_report(result.chat)
    print(f"{result.transcript.to_markdown()}\n\n{result.status}: {result.reason}")
    for member in report.members:
        print(f"  {member.name:8} {member.messages} messages, {member.usage.tokens:4} tokens, {member.usage.cost:.3f}")

    legacy = AgentTeamBuilder(CommunicationBus())
    same = legacy.run_team_chat(TEAM, "A weekend in Rome, please.").transcript.data(with_times=False)
    short = legacy.run_team_chat(TEAM.replace("0.02", "0.004"), "A weekend in Rome, please.")
    print(f"With a smaller budget: {short.reason} after {len(short.transcript)} messages")
    if same != result.transcript.data(with_times=False):
        raise SystemExit("The same team said something else in legacy mode.")


if __name__ == "__main__":
    main()
