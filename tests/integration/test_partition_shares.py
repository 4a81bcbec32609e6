"""Who reads which partition: by the status rows of the consumers at work, and only now and then."""

from __future__ import annotations

from datetime import datetime, timedelta
from time import monotonic
from unittest.mock import Mock
from uuid import UUID

import pytest
from django.utils import timezone

from messaging.brokers import Subscription
from messaging.models import WorkerStatus
from messaging.receiving import partitions
from messaging.receiving.partitions import AGAIN_AFTER, PartitionShares

pytestmark = pytest.mark.django_db
QUEUES = ["q.0", "q.1"]
SUBSCRIPTIONS = {queue: Subscription(queue=queue, prefetch=1) for queue in QUEUES}
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The time of shares, for tests to move."""
    time = Mock(return_value=monotonic())
    monkeypatch.setattr(partitions, "monotonic", time)
    return time


def consumer(identifier: UUID, *, reads: int = 2, silent: float = 0.0, stopped: datetime | None = None) -> None:
    now = timezone.now()
    WorkerStatus.objects.create(
        id=identifier,
        host="h",
        pid=1,
        thread="t",
        started_at=now,
        heartbeat_at=now - timedelta(seconds=silent),
        stopped_at=stopped,
        partitions=reads,
    )


def test_what_is_anothers_is_given_up_once_and_again_after_a_while(clock: Mock) -> None:
    broker = Mock()
    shares = PartitionShares(broker, QUEUES)
    consumer(SECOND)
    given: list[int] = []
    for seconds in (0, 5, 5, 5, 5):
        clock.return_value += seconds
        shares.note(QUEUES)
        shares.balance(FIRST, SUBSCRIPTIONS)
        given.append(broker.give_way.call_count)
    assert given == [1, 1, 2, 2, 3], f"at most every {AGAIN_AFTER:g} s"
    assert {call.args[0].queue for call in broker.give_way.call_args_list} == {"q.1"}


def test_from_where_nothing_comes_nobody_gives_way(clock: Mock) -> None:
    broker = Mock()
    shares = PartitionShares(broker, QUEUES)
    consumer(SECOND)
    shares.balance(FIRST, SUBSCRIPTIONS)
    assert shares.foreign == {"q.1"}
    assert not broker.give_way.called


@pytest.mark.parametrize(
    "gone", [{"reads": 0}, {"reads": 3}, {"silent": 21.0}, {"stopped": timezone.now()}], ids=lambda gone: str(*gone)
)
def test_who_does_not_read_these_partitions_gets_none(clock: Mock, gone: dict[str, object]) -> None:
    shares = PartitionShares(Mock(), QUEUES)
    consumer(SECOND, **gone)  # type: ignore[arg-type]
    shares.balance(FIRST, SUBSCRIPTIONS)
    assert shares.foreign == set()


def test_silence_of_a_partition_is_a_fault_only_of_its_reader_for_some_time(clock: Mock) -> None:
    shares = PartitionShares(Mock(), QUEUES)
    assert shares.quiet(clock.return_value) == set(QUEUES), "nobody has looked yet"
    consumer(SECOND)
    shares.balance(FIRST, SUBSCRIPTIONS)
    began = clock.return_value
    assert shares.quiet(began) == set(QUEUES)
    assert shares.quiet(began + 1) == {"q.1"}
    WorkerStatus.objects.all().delete()
    clock.return_value += 100
    shares.balance(FIRST, SUBSCRIPTIONS)
    assert shares.quiet(began + 1) == {"q.1"}, "taken over a moment ago"
    assert shares.quiet(began + 101) == set()


def test_without_partitions_nothing_is_asked(django_assert_num_queries: Mock) -> None:
    shares = PartitionShares(Mock(), [])
    with django_assert_num_queries(0):
        shares.note(["q"])
        shares.balance(FIRST, SUBSCRIPTIONS)
    assert shares.quiet(0.0) == set()
