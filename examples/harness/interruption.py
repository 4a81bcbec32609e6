"""A conversation with an agent whose worker is killed in the middle of its last answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from examples.harness.embedded import Nexus

WORKING = 1.0  # seconds after which the agent is in the middle of its answer


def converse(nexus: Nexus, agent: str, questions: Sequence[str]) -> None:
    """Ask questions in one workflow and print the answers.

    Args:
        nexus: a running Nexus.
        agent: who is asked.
        questions: in order; while the last one is answered the worker is killed with SIGKILL, and started again.
    """
    bus = nexus.bus
    bus.register_agent("me")
    workflow = bus.start_workflow(agent)

    def ask(question: str) -> str:
        return str(bus.request(workflow, agent, "ask", question, sender="me", timeout=60.0).data["text"])

    for question in questions[:-1]:
        print(f"> {question}\n{ask(question)}", flush=True)
    print(f"> {questions[-1]}", flush=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, questions[-1])
        time.sleep(WORKING)
        nexus.worker.kill()
        print("(the worker was killed in the middle of this answer, and started again)", flush=True)
        nexus.worker.start()
        print(answer.result())
