"""Many slow handlers at once, and the quick agents beside them."""

from __future__ import annotations

import statistics
from time import monotonic
from uuid import UUID

import pytest

from messaging.api import Outgoing
from messaging.models import Message
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.processes.conftest import MakeSite
from tests.integration.agents.processes.site import Site

AGENTS = "tests.integration.agents.processes.apps.slow"
HANDLERS = 200
SECONDS = 5.0


def latencies(site: Site, workflow: UUID, count: int) -> list[float]:
    """Seconds from a request to its reply, one after the other."""
    measured = []
    for number in range(count):
        began = monotonic()
        assert site.ask(workflow, "quick", number).data == number
        measured.append(monotonic() - began)
    return measured


@pytest.mark.whole
@pytest.mark.slow
def test_200_handlers_of_5_seconds_run_at_once_and_quick_agents_keep_their_latency(
    make_site: MakeSite,
) -> None:
    with make_site(AGENTS, processes=2, leased_concurrency=100) as site:
        chat = site.bus.start_workflow("quick")
        latencies(site, chat, 10)
        alone = latencies(site, chat, 40)
        workflows = [site.bus.start_workflow("slow") for _ in range(HANDLERS)]
        began = monotonic()
        site.bus.send_many(
            [
                Outgoing(
                    workflow_id=workflow,
                    source="web",
                    recipient="sleeper" if number % 2 else "blocker",
                    type="ask",
                    data={"seconds": SECONDS},
                )
                for number, workflow in enumerate(workflows)
            ]
        )
        beside = latencies(site, chat, 40)
        replies = Message.objects.filter(source__in=["sleeper", "blocker"])
        wait_until(lambda: replies.count() == HANDLERS, 60, lambda: f"all replies; unfinished: {site.unfinished()[:3]}")
        took = monotonic() - began
    figures = (
        f"{HANDLERS} handlers of {SECONDS:g} s: {took:.2f} s; "
        f"quick alone p50 {statistics.median(alone) * 1000:.0f} ms, p95 {sorted(alone)[37] * 1000:.0f} ms; "
        f"beside p50 {statistics.median(beside) * 1000:.0f} ms, p95 {sorted(beside)[37] * 1000:.0f} ms"
    )
    print(figures)
    # One after the other they would take 1,000 s; in the 32 places of one process 35 s.
    assert took < 6 * SECONDS, figures
    assert statistics.median(beside) < max(0.25, 5 * statistics.median(alone)), figures
