"""How often keys are used: counted in the process, added to the audit, and seen by operators."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from messaging.models import SigningKey, SigningUse
from messaging.security.signatures import changing, uses
from messaging.transport import muting
from tests.integration.test_commands import run
from tests.support.lab import Lab


@pytest.fixture
def workflow(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[UUID]:
    """With a process that writes as soon as there is something, as no process of tests does by itself."""
    monkeypatch.setattr(uses, "_tally", uses._Tally())
    lab.agent("a")
    workflow = lab.workflow()
    before = muting.choose(True)
    yield workflow
    muting.choose(before)


def counts() -> dict[str, int]:
    return {use.kid: use.count for use in SigningUse.objects.all()}


def test_uses_are_counted_by_key_and_written_now_and_then(
    lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CaptureQueriesContext(connection) as queries:
        for number in range(20):
            lab.send(workflow, "a", number)
    assert not any("nexus_signing_use" in query["sql"] for query in queries)
    monkeypatch.setattr(uses, "EVERY", 0.0)
    with transaction.atomic():
        lab.send(workflow, "a")
        assert counts() == {}, "not in the sender's transaction, which may be rolled back"
    first = SigningKey.objects.get()
    assert counts() == {first.kid: 21}

    changing.rotate("nexus", who="test")
    with transaction.atomic():
        lab.send(workflow, "a")
        transaction.set_rollback(True)
    lab.send(workflow, "a")
    second = SigningKey.objects.get(state="active")
    assert counts() == {first.kid: 21, second.kid: 2}, "what was rolled back was signed too"
    use = SigningUse.objects.get(kid=second.kid)
    assert (use.signer, use.hour) == ("nexus", use.first_at.replace(minute=0, second=0, microsecond=0))
    assert use.hour <= use.first_at <= use.last_at <= timezone.now()


def test_a_worker_and_a_relay_write_theirs(lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.agent("asker", lambda message, context: context.send("a", "test.message"))
    lab.send(workflow, "asker")
    assert counts() == {}
    lab.settle()
    monkeypatch.setattr(uses, "EVERY", 0.0)
    lab.clock.advance(10)
    lab.consumer.step()
    (kid,) = counts()
    assert counts()[kid] == 2
    lab.bus.send(workflow, "a", "test.message", sender="web", delay=5)
    lab.clock.advance(10)
    lab.relay_turn()
    monkeypatch.setattr(uses, "KEPT", timedelta(seconds=-10_000))
    uses.flush_at_end()
    assert counts()[kid] == 3
    uses.flush_and_prune()
    assert counts() == {}, "the oldest are forgotten"


def test_what_cannot_be_written_is_kept(lab: Lab, workflow: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(*_: object) -> None:
        raise DatabaseError("gone")

    lab.send(workflow, "a")
    with monkeypatch.context() as broken:
        broken.setattr(uses, "_write", lost)
        assert uses.flush() == 0
    lab.send(workflow, "a")
    assert uses.flush() == 2
    assert uses.flush() == 0
    assert list(counts().values()) == [2]


def test_operators_see_them(lab: Lab, workflow: UUID) -> None:
    assert "No key has signed" in run("nexus_keys", "uses")[1]
    lab.send(workflow, "a")
    uses.flush()
    (kid,) = counts()
    (row,) = json.loads(run("nexus_keys", "uses", kid, "--json")[1])
    assert (row["kid"], row["count"], row["signer"]) == (kid, 1, "nexus")
    assert kid in run("nexus_keys", "uses", "--hours", "2")[1]
    assert "No key has signed" in run("nexus_keys", "uses", "another")[1]
