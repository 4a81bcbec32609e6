"""What was sent, and saying what was sent instead."""

from __future__ import annotations

from unittest.mock import ANY
from uuid import UUID

import pytest

from messaging.api import ReliableCommunicationBus
from messaging.testing import assert_nothing_sent, assert_sent, sent, stand_in


def test_what_was_sent_is_found_by_what_it_is(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    assert_nothing_sent()
    with stand_in("critic"), stand_in("writer"):
        bus.send(workflow, "critic", "draft.ready", {"text": "a", "at": 17}, sender="web")
        bus.send(workflow, "writer", "draft.wanted", None, sender="web")
    assert [message.subject for message in sent()] == ["critic", "writer"]
    assert [message.type for message in sent(recipient="critic")] == ["draft.ready"]
    found = assert_sent(type="draft.ready", recipient="critic", sender="web", data={"text": "a", "at": ANY}, times=1)
    assert found.data["at"] == 17
    assert assert_sent(data=None).type == "draft.wanted"
    assert assert_sent(workflow=workflow, times=2).sequence_number == 1
    assert_nothing_sent(type="draft.lost")
    assert_nothing_sent(data={"text": "b"})


def test_a_failed_assertion_says_what_was_sent(bus: ReliableCommunicationBus, workflow: UUID) -> None:
    with pytest.raises(AssertionError, match=r"No message with type='a\.b' was sent\. Nothing was sent\."):
        assert_sent(type="a.b")
    with stand_in("critic"):
        bus.send(workflow, "critic", "draft.ready", {"n": 1}, sender="web")
    with pytest.raises(AssertionError, match=r"#1 web → critic: draft\.ready \{'n': 1\}"):
        assert_sent(data={"n": 2})
    with pytest.raises(AssertionError, match="1 times, not 2 times"):
        assert_sent(recipient="critic", times=2)
    with pytest.raises(AssertionError, match=r"Expected no message with data=\{'n': 1\} to be sent"):
        assert_nothing_sent(data={"n": 1})
