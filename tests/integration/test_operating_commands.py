"""Commands of people on call: follow the log, send by hand, see what waits, and dead letters by cause."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from itertools import islice
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from messaging.api import HandlerContext, TerminalError
from messaging.models import DeadLetter, Message
from messaging.observing.load import agent_loads
from messaging.operators import tailing
from messaging.operators.dead_letter_groups import dead_letter_groups
from tests.integration.test_commands import run
from tests.support.lab import Lab


def refuse(message: object, context: HandlerContext) -> None:
    raise TerminalError(f"no such account {context.message.id}")


def refuse_elsewhere(message: object, context: HandlerContext) -> None:
    raise ValueError("too much")


def kill(lab: Lab, agent: str, count: int = 1) -> None:
    for _ in range(count):
        lab.send(lab.workflow(), agent, {"account": 1})
    lab.publish()
    lab.work(4 * count)


def test_the_tail_shows_the_last_messages_as_text_and_as_json(lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    for number in range(5):
        lab.send(workflow, "clerk", {"number": number, "bell": "\x1b[31mred"})
    code, text = run("nexus_tail", "--no-follow", "-n", 3)
    assert code == 0
    lines = text.splitlines()
    assert len(lines) == 3
    assert "#5" in lines[-1]
    assert "web → clerk" in lines[-1]
    assert "\x1b" not in text, "a terminal must not obey what an agent wrote"
    rows = [
        json.loads(line)
        for line in run("nexus_tail", "--no-follow", "--json", "--workflow", workflow)[1].split("\n")
        if line
    ]
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[0]["data"]["number"] == 0


@pytest.mark.parametrize(
    ("option", "value", "count"), [("--agent", "other", 1), ("--type", "te*", 2), ("--type", "x", 0)]
)
def test_the_tail_is_filtered(lab: Lab, option: str, value: str, count: int) -> None:
    lab.agent("clerk")
    lab.agent("other")
    workflow = lab.workflow()
    lab.send(workflow, "clerk", 1)
    lab.send(workflow, "other", 2)
    assert len(run("nexus_tail", "--no-follow", option, value)[1].splitlines()) == count


def test_the_tail_of_a_workflow_that_is_not_there_says_so(lab: Lab) -> None:
    with pytest.raises(CommandError, match="There is no workflow"):
        call_command("nexus_tail", "--workflow", str(uuid4()), "--no-follow")


def test_following_a_workflow_gives_each_message_once_and_ends_with_it(lab: Lab) -> None:
    lab.agent("clerk")
    workflow = lab.workflow()
    for number in range(3):
        lab.send(workflow, "clerk", number)
    chosen = tailing.MessageFilter(workflow=workflow)
    seen = tailing.last(chosen, 1)
    assert [message.sequence for message in seen] == [3]
    for number in range(4):
        lab.send(workflow, "clerk", number)
    lab.settle()
    lab.bus.complete_workflow(workflow)
    assert [message.sequence for message in tailing.follow(chosen, seen, interval=0.01)] == [4, 5, 6, 7]


def test_following_all_shows_what_comes_and_nothing_twice(lab: Lab) -> None:
    lab.agent("clerk")
    first = lab.workflow()
    lab.send(first, "clerk", 1)
    chosen = tailing.MessageFilter()
    following = tailing.follow(chosen, tailing.last(chosen, 10), interval=0.01)
    found: list[Message] = []
    for number in range(3):
        lab.send(lab.workflow(), "clerk", number)
        found += islice(following, 1)
    assert len({message.pk for message in found}) == 3
    assert first not in {message.workflow_id for message in found}


def test_a_message_is_sent_by_hand_and_waited_for(lab: Lab) -> None:
    lab.agent("clerk")
    output = StringIO()
    call_command("nexus_send", "clerk", "test.order", '{"amount": 3}', "--json", stdout=output)
    sent = json.loads(output.getvalue())
    message = Message.objects.get(pk=sent["message"])
    assert (message.source, message.subject, message.type) == ("operator", "clerk", "test.order")
    lab.settle()
    code, _ = run("nexus_send", "clerk", "test.order", "1", "--workflow", sent["workflow"], "--deduplication-id", "a")
    lab.settle()
    again = run(
        "nexus_send", "clerk", "test.order", "1", "--workflow", sent["workflow"], "--deduplication-id", "a", "--wait", 5
    )
    assert code == 0
    assert again[0] == 0
    assert "Sent before as #2" in again[1]
    assert "clerk: processed" in again[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nobody", "t", "1"), "nobody"),
        (("clerk", "t", "{"), "JSON"),
        (("clerk", "t", "@/nowhere/at/all"), "cannot be read"),
        (("clerk", "", "1"), "type"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_reason(lab: Lab, arguments: tuple[str, ...], said: str) -> None:
    lab.agent("clerk")
    with pytest.raises(CommandError, match=said):
        call_command("nexus_send", *arguments)
    assert not Message.objects.exists()


def test_the_wait_for_a_dead_message_says_which_dead_letter(lab: Lab) -> None:
    lab.agent("clerk", refuse)
    kill(lab, "clerk")
    workflow = DeadLetter.objects.get().workflow_id
    assert workflow is not None
    message = Message.objects.get(workflow_id=workflow)
    Message.objects.filter(pk=message.pk).update(deduplication_id="d", source="operator")
    lab.bus.register_agent("operator")
    code, text = run("nexus_send", "clerk", "test", "1", "--workflow", workflow, "--deduplication-id", "d", "--wait", 1)
    assert code == 1
    assert f"nexus_dead_letters show {DeadLetter.objects.get().pk}" in text


def test_dead_letters_are_grouped_by_cause_and_place(lab: Lab) -> None:
    lab.agent("clerk", refuse)
    lab.agent("auditor", refuse_elsewhere)
    kill(lab, "clerk", 3)
    lab.send(lab.workflow(), "auditor", 1)
    lab.publish()
    lab.work(8)
    lab.settle()
    groups = {group.agent: group for group in dead_letter_groups()}
    assert groups["clerk"].count == 3
    assert groups["clerk"].error == "TerminalError"
    assert groups["clerk"].trend == "rising"
    assert "test_operating_commands.py" in groups["clerk"].place
    assert groups["clerk"].place.endswith("in refuse")
    assert groups["clerk"].select().count() == 3
    _, text = run("nexus_dead_letters", "groups")
    assert "in refuse" in text
    rows = json.loads(run("nexus_dead_letters", "groups", "--json")[1])
    assert sum(row["count"] for row in rows) == DeadLetter.objects.count()


def test_one_dead_letter_is_shown_error_first(lab: Lab) -> None:
    lab.agent("clerk", refuse)
    kill(lab, "clerk")
    letter = DeadLetter.objects.get()
    _, text = run("nexus_dead_letters", "show", letter.pk)
    assert text.index("no such account") < text.index('"account"')
    assert (
        f"#{letter.pk}" in run("nexus_dead_letters", "list")[1]
        or str(letter.pk) in run("nexus_dead_letters", "list")[1]
    )
    assert run("nexus_dead_letters", "discard", letter.pk)[0] == 0
    assert run("nexus_dead_letters", "list")[1] == "No dead letter is open.\n"
    with pytest.raises(CommandError, match="no dead letter"):
        call_command("nexus_dead_letters", "show", "99999")


def test_top_tells_what_waits_for_whom(lab: Lab) -> None:
    lab.agent("busy")
    lab.agent("idle")
    lab.agent("clerk", refuse)
    lab.send(lab.workflow(), "idle", 1)
    lab.settle()
    kill(lab, "clerk")
    for _ in range(3):
        lab.send(lab.workflow(), "busy", 1)
    loads = {load.agent: load for load in agent_loads(timedelta(minutes=5))}
    assert loads["busy"].backlog == 3
    assert loads["busy"].oldest is not None
    assert (loads["idle"].received, loads["idle"].handled, loads["idle"].backlog) == (1, 1, 0)
    assert loads["clerk"].dead == 1
    assert next(iter(loads)) == "busy"
    rows = json.loads(run("nexus_top", "--json")[1])
    assert rows[0]["agent"] == "busy"
    code, text = run("nexus_top", "--once")
    assert code == 0
    assert text.splitlines()[1].startswith("busy")


@pytest.mark.parametrize("name", ["nexus_tail", "nexus_send", "nexus_top", "nexus_dead_letters"])
def test_the_help_gives_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        call_command(name, "--help")
    assert end.value.code in (0, None)
    assert "examples:" in capsys.readouterr().out
