"""The chat of docs/comparison.md in Nexus."""

from __future__ import annotations

import threading

from docs.comparison.model import LINES, TASK, answer
from examples.harness.embedded import Nexus, prepare, running

prepare(__file__)

from agents import Member, ReliableNexusGroupChatManager, TeamDefinition, TextMention, Turn, chat_member


async def speak(turn: Turn) -> str:
    said = [entry for entry in turn.messages if entry.speaker == turn.speaker]
    return answer(turn.speaker, len(said))


for name in LINES:
    chat_member(name)(speak)

TEAM = TeamDefinition(
    name="article",
    members=tuple(Member(name=name) for name in LINES),
    termination=TextMention("APPROVED"),
)


def keep_running(nexus: Nexus, over: threading.Event) -> None:
    """What systemd or Kubernetes does: start the worker again when it has died."""
    while not over.wait(0.2):
        if not nexus.worker.running:
            print("(the worker was killed; starting it again)", flush=True)
            nexus.worker.start()


def main() -> None:
    with running(__file__) as nexus:
        over = threading.Event()
        threading.Thread(target=keep_running, args=(nexus, over), daemon=True).start()
        result = ReliableNexusGroupChatManager(nexus.bus).run(TEAM, TASK)
        over.set()
    for said in result.transcript:
        print(f"{said.speaker}: {said.content}")


if __name__ == "__main__":
    main()
