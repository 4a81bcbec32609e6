"""``context.once`` beyond the death of its worker: a real server counts the calls, a real worker is killed."""

from __future__ import annotations

from messaging.models import OnceResult
from messaging.testing.servers.waiting import wait_until
from tests.integration.agents.processes.conftest import MakeSite
from tests.support.model_server import ModelServer

AGENTS = "tests.integration.agents.processes.apps.slow"


def test_a_kill_between_call_and_commit_does_not_repeat_the_call(make_site: MakeSite, server: ModelServer) -> None:
    """A sync and an async handler are killed together, after their calls and before anything of them is committed."""
    with make_site(AGENTS) as site:
        workflow = site.bus.start_workflow("once")
        sent = site.send(workflow, "caller", {})
        sent_async = site.send(workflow, "async-caller", {})
        wait_until(lambda: server.waiting["before-commit"] == 2, 30, "both handlers to be past their calls")
        assert server.counts == {"call": 1, "attempt": 1, "async": 1}
        site.worker.kill()
        server.open("before-commit")
        site.worker.start()
        assert site.reply_to(sent) == {"n": 1}, "the reply is of the first call"
        assert site.reply_to(sent_async) == [1, 1]
        # The handlers ran again, their calls did not; the call that came after the kill was made.
        assert server.counts == {"call": 1, "attempt": 2, "async": 1, "after": 1}
        assert OnceResult.objects.count() == 3
