"""Durable chats with real processes that are killed. CHAT_ROUNDS=60 makes the chat as long as an afternoon's
discussion."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from time import monotonic

import pytest
from django.utils import timezone

from agents.api import MaxRounds, Member, NexusGroupChatManager, ReliableNexusGroupChatManager, TeamDefinition
from messaging.models import QueueMarker
from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.chats.panel import panel
from tests.integration.agents.processes.site import Site
from tests.support.model_server import ModelServer

MakeSite = Callable[..., Site]
KILL_EVERY = 2.0
CALLS_BEFORE_THE_FIRST_KILL = 3


class Killer(threading.Thread):
    """Kills the worker in the midst of the first calls, then worker or relay every two seconds.

    A process manager starts them again.
    """

    def __init__(self, site: Site, server: ModelServer, seed: int) -> None:
        super().__init__(name="killer", daemon=True)
        self._site = site
        self._server = server
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self.kills = {"worker": 0, "relay": 0}

    def run(self) -> None:
        while self._server.counts.total() < CALLS_BEFORE_THE_FIRST_KILL:
            if self._ending.wait(0.01):
                return
        self._kill(self._site.worker)
        while not self._ending.wait(KILL_EVERY):
            self._kill(self._random.choice([self._site.worker, self._site.relay]))

    def _kill(self, victim: Supervised) -> None:
        if victim.running:
            victim.kill()
            self.kills[victim.name] += 1

    def stop(self) -> None:
        self._ending.set()
        self.join(20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_chat_says_the_same_while_worker_and_relay_are_killed(make_site: MakeSite, server: ModelServer) -> None:
    rounds = int(os.environ.get("CHAT_ROUNDS", "10"))
    team = panel(rounds)
    expected = NexusGroupChatManager().run(team, "discuss").transcript
    with make_site() as site:
        killer = Killer(site, server, seed=20)
        site.worker.stop()
        site.relay.stop()
        site.worker.keep_running()
        site.relay.keep_running()
        killer.start()
        manager = ReliableNexusGroupChatManager(site.bus)
        began = monotonic()
        chat = manager.start_chat(team, "discuss")
        try:
            result = manager.wait(chat, timeout=240)
        finally:
            killer.stop()
        print(f"{rounds} rounds in {monotonic() - began:.1f} s, kills {killer.kills}, calls {server.counts.total()}")
    assert result.transcript.data(with_times=False) == expected.data(with_times=False)
    assert killer.kills["worker"] >= 1, "nothing was killed, so nothing was shown"
    assert len(server.counts) == rounds, "every turn was billed"
    repeated = sum(count - 1 for count in server.counts.values())
    assert repeated <= killer.kills["worker"], "only turns in flight at a kill were billed again"
    assert manager.missing_messages(chat) == {}


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_chat_that_waits_for_a_person_survives_a_restart_of_everything(make_site: MakeSite) -> None:
    team = TeamDefinition(name="t", members=(Member(name="asker"), Member(name="ada")), termination=MaxRounds(2))
    with make_site() as site:
        manager = ReliableNexusGroupChatManager(site.bus)
        chat = manager.start_chat(team, "buy")
        wait_until(lambda: manager.pending_approvals(chat), 60, "the request")
        killed_at = timezone.now()
        for process in (site.worker, site.relay):
            process.kill()
            process.start()
        markers = QueueMarker.objects.filter(queue="transactional", seen_at__gt=killed_at, sent_at__gt=killed_at)
        wait_until(markers.exists, 60, "the worker to consume again")
        (request,) = ReliableNexusGroupChatManager(site.bus).pending_approvals(chat)
        # The answer waits for nothing but the worker: what is tried again or found missing after so many seconds, the
        # relay tries and finds.
        site.relay.kill()
        manager.answer_approval(request.id, by="eve")
        wait_until(lambda: len(manager.transcript(chat)) >= 2, 60, "the chat to go on without a relay")
        site.relay.start()
        result = manager.wait(chat, timeout=60)
    assert [said.speaker for said in result.transcript] == ["user", "asker", "ada"]


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.timeout(200)
def test_many_chats_at_once_all_finish(make_site: MakeSite, server: ModelServer) -> None:
    team, count = panel(6), 24
    with make_site() as site:
        manager = ReliableNexusGroupChatManager(site.bus)
        chats = [manager.start_chat(team, f"topic {number}") for number in range(count)]
        results = [manager.wait(chat, timeout=100) for chat in chats]
    assert {len(result.transcript) for result in results} == {7}
    assert [result.transcript[0].content for result in results] == [f"topic {number}" for number in range(count)]
    assert set(server.counts.values()) == {1}, "every turn was billed once"
    assert len(server.counts) == count * 6
