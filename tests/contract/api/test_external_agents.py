"""Agents whose handlers run outside: what they lease, in which order, and what of it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging.core.envelope import parse_envelope
from messaging.core.ids import uuid7
from messaging.directory import external
from messaging.directory import names as directory
from messaging.models import AgentState, DeadLetter, Delivery, ExternalAgent, Mailbox, Message, OnceResult, Workflow
from messaging.operators.labels import approve, endorse
from nexus_api.models import ApiToken
from tests.support.api import ApiCaller, problem
from tests.support.lab import Lab

PATH = "/external-agents/translator"


@pytest.fixture
def lab(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    external.forget()
    with_lab = Lab(settings, monkeypatch, RETRY_BASE=1, RETRY_CAP=1)
    yield with_lab
    with_lab.close()
    external.forget()


@pytest.fixture
def outside(lab: Lab) -> ApiCaller:
    """A program that acts for ``translator``, which is registered."""
    caller = ApiCaller("translator", scopes=["agents:act"], senders=["translator"])
    assert caller.post(PATH, {"description": "Translates.", "max_attempts": 3}).status_code == 200
    return caller


def send(lab: Lab, *numbers: int, workflow: UUID | None = None) -> UUID:
    chosen = workflow or lab.bus.start_workflow("w")
    for number in numbers:
        lab.bus.send(chosen, "translator", "text.translate", {"n": number}, sender="web")
    return chosen


def lease(caller: ApiCaller, **options: Any) -> list[dict[str, Any]]:
    response = caller.post(f"{PATH}/lease", options)
    assert response.status_code == 200, response.content
    found: list[dict[str, Any]] = response.json()["messages"]
    return found


def act(caller: ApiCaller, verb: str, leased: dict[str, Any], **body: Any) -> Any:
    return caller.post(f"{PATH}/deliveries/{leased['delivery']}/{verb}", {"token": leased["token"], **body})


def numbers(leased: list[dict[str, Any]]) -> list[int]:
    return [one["message"]["data"]["n"] for one in leased]


def test_in_order_with_replies_state_and_signed_as_the_agent(lab: Lab, outside: ApiCaller) -> None:
    workflow = send(lab, 1, 2, 3)
    for number in (1, 2, 3):
        (leased,) = lease(outside, limit=10)  # one at a time in a mailbox
        assert (numbers([leased]), lease(outside)) == ([number], [])
        assert leased["state"] == ({"seen": number - 1} if number > 1 else {})
        done = act(outside, "complete", leased, replies=[{"data": {"n": -number}}], state={"seen": number})
        assert done.json() == {"outcome": "processed"}
    replies = Message.objects.filter(source="translator").order_by("sequence")
    envelopes = [parse_envelope(bytes(row.envelope), max_bytes=4_000) for row in replies]
    assert [(one.subject, one.type, one.data["n"]) for one in envelopes] == [
        ("web", "text.translate.reply", -number) for number in (1, 2, 3)
    ]
    assert all(row.correlation_id for row in replies)
    assert all(row.signature for row in replies)
    assert Mailbox.objects.get(workflow=workflow, agent="translator").processed == 3
    lab.publish()
    assert lab.relay.turn() is False
    assert set(Delivery.objects.values_list("state", flat=True)) == {"processed"}


def test_several_workflows_at_once_and_nothing_for_the_broker(lab: Lab, outside: ApiCaller) -> None:
    for number in range(5):
        send(lab, number, number + 10)
    assert lab.take_offered() == []
    lab.relay.turn()
    assert sorted(numbers(lease(outside, limit=3))) == [0, 1, 2]
    assert sorted(numbers(lease(outside, limit=9))) == [3, 4]


def test_a_frozen_one_that_wakes_cannot_complete(lab: Lab, outside: ApiCaller) -> None:
    send(lab, 1)
    (frozen,) = lease(outside, visibility=5)
    lab.clock.advance(6)
    lab.relay.turn()
    (other,) = lease(outside)
    assert (other["attempt"], other["token"] == frozen["token"]) == (2, False)
    for verb in ("complete", "renew"):
        problem(act(outside, verb, frozen), 409, "lease-lost")
    problem(act(outside, "fail", frozen, error="late"), 409, "lease-lost")
    assert act(outside, "complete", other, replies=[{}]).status_code == 200
    problem(act(outside, "complete", frozen, replies=[{}]), 409, "lease-lost")
    assert Message.objects.filter(source="translator").count() == 1


def test_a_lost_answer_is_given_again(lab: Lab, outside: ApiCaller) -> None:
    send(lab, 1)
    (leased,) = lease(outside)
    first, second = (act(outside, "complete", leased, replies=[{"data": 1}]) for _ in range(2))
    assert (first.json(), second.json()) == ({"outcome": "processed"}, {"outcome": "processed"})
    assert second["Idempotent-Replayed"] == "true"
    problem(act(outside, "complete", leased, replies=[{"data": 2}]), 422, "key-reused")
    assert Message.objects.filter(source="translator").count() == 1


GARBAGE = [
    {"replies": "no list"},
    {"replies": [{"data": 1, "unknown": 1}]},
    {"sends": [{"recipient": "nobody", "type": "a.b"}]},
    {"sends": [{"recipient": "web", "type": "not a type"}]},
    {"replies": [{"data": 1}], "sends": [{"recipient": "web", "type": "a.b", "labels": "origin:"}]},
    {"replies": [{"data": 1}], "state": [1]},
    {"state": {"large": "x" * 1_100_000}},
    {"once": {"": 1}},
    {"replies": [{"data": 1}, {"data": 2, "type": "two words"}]},
    {"token": "no token"},
]


@pytest.mark.parametrize("body", GARBAGE, ids=lambda body: str(body)[:40])
def test_garbage_changes_nothing(lab: Lab, outside: ApiCaller, body: dict[str, Any]) -> None:
    send(lab, 1)
    (leased,) = lease(outside)
    refused = outside.post(f"{PATH}/deliveries/{leased['delivery']}/complete", {"token": leased["token"], **body})
    assert refused.status_code in ((413,) if "large" in str(body)[:20] else (422,)), refused.content
    assert (Message.objects.count(), AgentState.objects.count(), OnceResult.objects.count()) == (1, 0, 0)
    assert act(outside, "complete", leased).status_code == 200  # the lease still holds


def test_failures_attempts_and_dead_letters(lab: Lab, outside: ApiCaller) -> None:
    workflow = send(lab, 1, 2)
    (leased,) = lease(outside)
    assert act(outside, "fail", leased, error="busy", retry_after=60).status_code == 204
    lab.clock.advance(30)
    assert lease(outside) == []
    lab.clock.advance(31)
    lab.relay.turn()
    for attempt in (2, 3):  # it kills whoever handles it
        (leased,) = lease(outside, visibility=5)
        assert (leased["attempt"], numbers([leased])) == (attempt, [1])
        lab.clock.advance(6)
        lab.relay.turn()
    assert lease(outside) == []
    assert Workflow.objects.get(pk=workflow).status == "parked"
    assert Delivery.objects.get(position=1).dead_letters.get().reason == "crash_loop"
    (other,) = [one for _ in [send(lab, 7)] for one in lease(outside)]
    assert act(outside, "fail", other, error="never", terminal=True).status_code == 204
    assert sorted(Workflow.objects.values_list("status", flat=True)) == ["parked", "parked"]


def test_results_of_calls_outlive_a_kill_and_timeouts_end_leases(lab: Lab, outside: ApiCaller) -> None:
    outside.post(PATH, {"timeout": 10, "accepts": ["text.*"]})
    workflow = send(lab, 1)
    (leased,) = lease(outside, visibility=5)
    assert act(outside, "renew", leased, once={"charge": {"id": 7}}, visibility=60).status_code == 200
    lab.clock.advance(9)
    lab.relay.turn()
    assert lease(outside) == []  # renewed, up to its timeout
    lab.clock.advance(2)
    problem(act(outside, "renew", leased), 409, "lease-lost")
    lab.clock.advance(2)
    (again,) = lease(outside)
    assert (again["attempt"], again["once"]) == (2, {"charge": {"id": 7}})
    assert act(outside, "complete", again).status_code == 200
    lab.bus.send(workflow, "translator", "audit.start", None, sender="web")
    assert lease(outside) == []
    assert Workflow.objects.get(pk=workflow).status == "parked"


def test_pauses_hold(lab: Lab, outside: ApiCaller) -> None:
    operator = ApiCaller("operator")
    workflow = send(lab, 1, 2)
    operator.post("/agents/translator/pause", {})
    assert lease(outside) == []
    assert operator.post("/agents/translator/resume").json() == {"released": 1}
    lab.bus.pause_workflow(workflow, "wait")
    assert lease(outside) == []
    lab.bus.resume_workflow(workflow)
    lab.relay.turn()
    (leased,) = lease(outside)
    assert numbers([leased]) == [1]
    lab.bus.cancel_workflow(workflow, "enough")
    assert act(outside, "complete", leased, replies=[{}]).json() == {"outcome": "cancelled"}
    assert Message.objects.filter(source="translator").count() == 0


def test_who_may_act(lab: Lab, outside: ApiCaller) -> None:
    send(lab, 1)
    (leased,) = lease(outside)
    for verb, body in (("lease", {}), ("deliveries/" + leased["delivery"] + "/complete", {"token": leased["token"]})):
        path = f"{PATH}/{verb}"
        others = ApiCaller(f"others {verb[:5]}", scopes=["agents:act"], senders=["other"])
        problem(others.post(path, body), 403, "sender-not-allowed")
        unnamed = ApiCaller(f"unnamed {verb[:5]}", scopes=["agents:act"])
        problem(unnamed.post(path, body), 403, "sender-not-allowed")
        reader = ApiCaller(f"reader {verb[:5]}", scopes=["messages:send"], senders=["translator"])
        problem(reader.post(path, body), 403, "insufficient-scope")
    other = ApiCaller("other", scopes=["agents:act"], senders=["other", "auditor"])
    problem(other.post("/external-agents/other/lease", {}), 404, "not-external")
    problem(other.post("/external-agents/auditor", {}), 422, "name-taken")  # it has a handler inside
    other.post("/external-agents/other", {})
    theirs = f"/external-agents/other/deliveries/{leased['delivery']}/complete"
    problem(other.post(theirs, {"token": leased["token"]}), 409, "lease-lost")
    problem(act(outside, "complete", {**leased, "token": str(uuid7())}), 409, "lease-lost")
    ApiToken.objects.filter(name="translator").update(revoked_at=timezone.now())
    problem(act(outside, "complete", leased), 401, "invalid-token")
    assert Delivery.objects.get().state == "leased"


def test_limits_hold_over_all_programs(lab: Lab, outside: ApiCaller) -> None:
    outside.post(PATH, {"concurrency": 2})
    for number in range(4):
        send(lab, number)
    first = lease(outside, limit=10)
    assert (len(first), lease(outside, limit=10)) == (2, [])
    act(outside, "complete", first[0])
    assert len(lease(outside, limit=10)) == 1


def test_an_agent_that_moves_in(lab: Lab, outside: ApiCaller) -> None:
    """What waited outside is carried by the broker once a worker has the handler."""
    send(lab, 1, 2)
    workflow = send(lab, 3)
    lab.agent("translator")
    directory.save_registered_agents()
    lab.settle()
    assert lab.ledger.handled(workflow, "translator") == [1]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"processed"}
    assert ExternalAgent.objects.count() == 1
    problem(outside.post(f"{PATH}/lease", {}), 404, "not-external")


def labels_of(type: str) -> list[str]:
    """Labels of the messages of a type, as the envelopes have them."""
    rows = Message.objects.filter(type=type).order_by("created_at", "sequence")
    return [parse_envelope(bytes(row.envelope), max_bytes=4_000).labels or "" for row in rows]


def send_labelled(lab: Lab, labels: str | None, workflow: UUID | None = None) -> UUID:
    chosen = workflow or lab.bus.start_workflow("w")
    lab.bus.send(chosen, "translator", "text.translate", {"n": 0}, sender="web", labels=labels)
    return chosen


def test_what_it_sends_bears_what_it_leased_and_what_it_reads_outside(lab: Lab, outside: ApiCaller) -> None:
    workflow = send_labelled(lab, "private:customers")
    send(lab, 1, workflow=workflow)
    for _ in range(2):  # the second message bears nothing, but the agent remembers
        (leased,) = lease(outside)
        assert leased["labels"] == "private:customers"
        sends = [{"recipient": "auditor", "type": "audit.note"}]
        assert act(outside, "complete", leased, replies=[{}], sends=sends).status_code == 200
    assert labels_of("text.translate.reply") == labels_of("audit.note") == ["private:customers"] * 2
    said = outside.post(PATH, {"reads_untrusted": True, "private": ["partners"]}).json()
    assert (said["origin"], said["private"], said["reads_untrusted"]) == ("outside", ["partners"], True)
    clean = send(lab, 1)
    (leased,) = lease(outside)
    assert act(outside, "complete", leased, replies=[{}]).status_code == 200
    assert labels_of("text.translate.reply")[2:] == ["origin:outside private:partners"]
    external.forget()  # another process, in which somebody else sends as the agent
    lab.bus.send(clean, "auditor", "audit.note", None, sender="translator")
    assert labels_of("audit.note")[2:] == ["origin:outside private:partners"]


SINKS: list[tuple[dict[str, Any], str, str]] = [
    ({"accepts_labels": {}}, "origin:web", "private:customers"),
    ({"accepts_labels": {"untrusted": True, "private": ["press"]}}, "private:customers", "origin:web private:press"),
    (
        {"origin": "mail", "reads_untrusted": True, "sees_private": True, "changes_outside": True},
        "private:customers",  # what it reads outside makes the second
        "origin:web",
    ),
]


@pytest.mark.parametrize(("declared", "refused", "taken"), SINKS)
def test_sinks_and_the_rule_of_two_hold_outside(
    lab: Lab, outside: ApiCaller, declared: dict[str, Any], refused: str, taken: str
) -> None:
    said = outside.post(PATH, declared)
    assert said.status_code == 200, said.content
    external.forget()
    stopped = send_labelled(lab, refused)
    assert lease(outside) == []
    letter = DeadLetter.objects.get()
    assert (letter.reason, Workflow.objects.get(pk=stopped).status) == ("labels", "parked")
    send_labelled(lab, taken)
    (leased,) = lease(outside)
    assert (leased["labels"], act(outside, "complete", leased).status_code) == (taken, 200)
    payment = Message.objects.get(workflow=stopped).pk
    if "changes_outside" in declared:
        approve(payment, "seen", who="anna")
    else:
        endorse(payment, "seen", who="anna", public=["customers"] if "private" in refused else [])
    (leased,) = lease(outside)
    assert act(outside, "complete", leased).json() == {"outcome": "processed"}


def test_a_sink_that_is_declared_while_a_lease_lasts_refuses_its_result(lab: Lab, outside: ApiCaller) -> None:
    send_labelled(lab, "origin:web")
    (leased,) = lease(outside)
    assert outside.post(PATH, {"accepts_labels": {}}).status_code == 200
    assert act(outside, "complete", leased, replies=[{}]).json() == {"outcome": "dead"}
    assert Message.objects.filter(source="translator").count() == 0


def test_what_was_declared_is_not_taken_back(lab: Lab, outside: ApiCaller) -> None:
    contained: dict[str, Any] = {
        "origin": "mail",
        "changes_outside": True,
        "accepts_labels": {"untrusted": True, "private": ["press"]},
    }
    assert outside.post(PATH, contained).status_code == 200
    looser: list[dict[str, Any]] = [
        {},
        {**contained, "origin": None},
        {**contained, "changes_outside": False},
        {**contained, "accepts_labels": None},
        {**contained, "accepts_labels": {"untrusted": True}},
        {**contained, "accepts_labels": {"untrusted": True, "private": ["press", "customers"]}},
    ]
    for body in looser:
        problem(outside.post(PATH, body), 403, "labels-loosened")
    tighter = {**contained, "accepts_labels": {"private": []}}
    assert outside.post(PATH, tighter).status_code == 200
    problem(outside.post(PATH, contained), 403, "labels-loosened")
    operator = ApiCaller("operator", senders=["translator"])  # who may operate agents may loosen, by name
    assert operator.post(PATH, {}).json()["accepts_labels"] is None
    assert outside.post(PATH, {}).status_code == 200
