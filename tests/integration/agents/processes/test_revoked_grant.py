"""A grant revoked under load: two worker processes handle nothing after that commit.

Ten tries; ``TEST_REVOKES=100`` makes it a hundred.
"""

from __future__ import annotations

import os

import pytest

from messaging.api import Outgoing, ReliableCommunicationBus
from messaging.models import POLLED_STATES, DeadLetter, Delivery
from messaging.security.access import store
from messaging.security.access.policy import Defaults, Effect, Grant, Policy
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.processes.conftest import MakeSite

TRIES = int(os.environ.get("TEST_REVOKES", "10"))
MESSAGES = 80
CLOSED = Policy(defaults=Defaults(without_team=Effect.DENY))
OPEN = Policy(defaults=CLOSED.defaults, grants=(Grant(name="asking", sender="web", type="ask"),))


@pytest.mark.whole
@pytest.mark.timeout(90 + 5 * TRIES)
def test_nothing_is_handled_after_a_revoke(make_site: MakeSite) -> None:
    with make_site("tests.integration.agents.processes.apps.revoked", second_worker=True, batch_size=4) as site:
        cut_off = [_one_try(site.bus) for _ in range(TRIES)]
    handled = sum(MESSAGES - number for number in cut_off)
    print(f"{TRIES} tries: {handled} handled before the revoke, {sum(cut_off)} refused behind it")
    assert sum(number > 0 for number in cut_off) >= TRIES // 2, "the revokes came too late to show anything"


def _one_try(bus: ReliableCommunicationBus) -> int:
    """Revoke in mid-load; return how many messages were refused behind it."""
    store.save_policy(OPEN, "anna")
    Delivery.objects.all().delete()
    DeadLetter.objects.all().delete()
    bus.send_many(
        [
            Outgoing(
                workflow_id=bus.start_workflow("load"),
                source="web",
                recipient="slow" if number % 4 == 0 else "quick",
                type="ask",
                data=None,
            )
            for number in range(MESSAGES)
        ]
    )
    done = Delivery.objects.filter(state="processed")
    wait_until(lambda: done.count() > 5, 30, "the load to be handled", interval=0.002)
    store.save_policy(CLOSED, "bert")
    before = done.count()
    waiting = Delivery.objects.filter(state__in=POLLED_STATES)
    wait_until(lambda: not waiting.exists(), 60, lambda: f"{list(waiting[:5])} to be refused")
    assert done.count() == before, "something was handled after the revoke"
    refused = DeadLetter.objects.filter(reason="not_authorized").count()
    assert refused == MESSAGES - before
    return refused
