"""Nothing that tests send leaves the process, unless asked."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from django.test import utils
from pytest_django.fixtures import Settings

from messaging.api import ReliableCommunicationBus
from messaging.models import Delivery
from messaging.testing import publishing, stand_in
from messaging.testing.servers.waiting import wait_until
from messaging.transport import muting
from tests.support.paths import ROOT

PUBLISHER = "nexus-publisher"


def publisher_runs() -> bool:
    """Whether this process has the publisher's thread."""
    return PUBLISHER in {thread.name for thread in threading.enumerate()}


@pytest.fixture
def send(settings: Settings, transactional_db: None) -> Callable[[], None]:
    """Sends and commits, in an installation with a broker in memory."""
    settings.NEXUS = {"BROKER_URL": f"memory://{uuid4()}"}
    bus = ReliableCommunicationBus()
    bus.register_agent("web")

    def send() -> None:
        with stand_in("worker"):
            bus.send(bus.start_workflow("test"), "worker", "test.message", sender="web")

    return send


def test_the_plugin_keeps_everything_inside(send: Callable[[], None]) -> None:
    send()
    assert not publisher_runs()
    assert Delivery.objects.get().state == "pending"


@pytest.mark.parametrize("time", ["first", "second"])  # the thread that the first ended starts again
def test_the_fixture_lets_it_out(nexus_publishing: None, send: Callable[[], None], time: str) -> None:
    send()
    assert publisher_runs()


def test_the_publisher_ends_with_the_block(send: Callable[[], None]) -> None:
    for _ in range(2):
        with publishing():
            send()
            wait_until(publisher_runs, 60, "the publisher's thread")
        assert not publisher_runs()
    assert not muting.may_publish()


@pytest.fixture
def undecided() -> Iterator[None]:
    """As without the plugin."""
    before = muting.choose(None)
    yield
    muting.choose(before)


def test_djangos_test_environment_is_noticed(undecided: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not muting.may_publish()  # pytest-django has set it up
    with publishing():
        assert muting.may_publish()
    monkeypatch.delattr(utils._TestState, "saved_data")
    assert muting.may_publish()
    monkeypatch.delitem(sys.modules, "django.test.utils")
    assert muting.may_publish()


TESTS = """
from django.test import TransactionTestCase

from messaging.api import ReliableCommunicationBus
from messaging.testing import stand_in


class SendingTest(TransactionTestCase):
    def test_sending(self):
        bus = ReliableCommunicationBus()
        bus.register_agent("web")
        with stand_in("worker"):
            for _ in range(20):
                bus.send(bus.start_workflow("test"), "worker", "test.message", sender="web")
"""


@pytest.mark.whole
@pytest.mark.slow
def test_djangos_runner_reaches_no_broker_and_can_drop_its_database(
    project_environment: dict[str, str], runner_database: str, tmp_path: Path
) -> None:
    (tmp_path / "shoptests").mkdir()
    (tmp_path / "shoptests" / "__init__.py").touch()
    (tmp_path / "shoptests" / "tests.py").write_text(TESTS)
    with closing(socket.create_server(("127.0.0.1", 0))) as broker:
        environment = {
            **project_environment,
            "DATABASE_URL": runner_database,
            "BROKER_URL": f"amqp://guest:guest@127.0.0.1:{broker.getsockname()[1]}//",
            "PYTHONPATH": f"{tmp_path}:{ROOT}",
        }
        done = subprocess.run(
            # DEBUG as it is set: without it, RabbitMQ beside SQLite is refused.
            [sys.executable, "manage.py", "test", "--debug-mode", "shoptests"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        broker.settimeout(0.2)
        with pytest.raises(TimeoutError):
            broker.accept()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ran 1 test" in done.stderr
