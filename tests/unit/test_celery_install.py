"""``messaging.celery.install`` in Celery apps of other projects: it adds, and changes nothing that they have set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, signals
from kombu.entity import Queue
from kombu.transport.pyamqp import Channel
from pytest_django.fixtures import Settings

from messaging.celery import TASK_QUEUE, install, is_installed
from messaging.tasks import prune, replay_dead_letters, start_team_task

RABBITMQ = "amqp://guest@127.0.0.1:1//"
MakeApp = Callable[..., Any]


@pytest.fixture
def make_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeApp]:
    """Make a project's app with settings of its own, and install Nexus in it."""
    kept = Channel.basic_publish_confirm
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)

    def make(**options: Any) -> Any:
        app = Celery("shop", set_as_current=False, changes=options)
        install(app)
        return app

    yield make
    Channel.basic_publish_confirm = kept


def consumed(app: Any, *chosen: str) -> set[str]:
    """The queues that a worker reads, with ``-Q`` or without."""
    app.amqp.queues.select(chosen)
    names = set(app.amqp.queues.consume_from)
    app.amqp.queues._consume_from = None
    return names


def test_the_projects_tasks_stay_in_their_queue(make_app: MakeApp) -> None:
    app = make_app()
    assert is_installed(app)
    assert consumed(app) == {"celery", TASK_QUEUE}
    assert app.amqp.router.route({}, "shop.tasks.pack")["queue"].name == "celery"
    assert app.amqp.router.route({}, "nexus.prune")["queue"].name == TASK_QUEUE
    queue = app.amqp.queues[TASK_QUEUE]
    assert queue.routing_key == TASK_QUEUE, "with the default queue's key it would get a copy of every task"


def test_queues_and_routes_of_the_project_stay(make_app: MakeApp) -> None:
    def router(name: str, *_: object, **__: object) -> dict[str, str] | None:
        return {"queue": "slow"} if name == "shop.tasks.report" else None

    queues = [Queue("fast"), Queue("slow")]  # type: ignore[no-untyped-call]
    app = make_app(task_queues=queues, task_default_queue="fast", task_routes=router)
    assert consumed(app) == {"fast", "slow", TASK_QUEUE}
    assert app.amqp.router.route({}, "shop.tasks.report")["queue"].name == "slow"
    assert app.amqp.router.route({}, "shop.tasks.pack")["queue"].name == "fast"
    assert consumed(app, "fast") == {"fast"}


def test_settings_of_the_project_stay(make_app: MakeApp) -> None:
    app = make_app(broker_url="redis://localhost/3", broker_connection_max_retries=7, accept_content=["json", "yaml"])
    assert app.conf.broker_url == "redis://localhost/3"
    assert app.conf.broker_transport_options == {}
    assert app.conf.broker_connection_max_retries == 7
    assert app.conf.accept_content == ["json", "yaml"]
    assert app.conf.broker_channel_error_retry is True
    assert not app.conf.task_acks_late, "a task of the project may not be one that can run twice"


def test_operators_tasks_outlive_their_worker_whatever_the_projects_do(make_app: MakeApp) -> None:
    make_app()
    for task in (prune, replay_dead_letters, start_team_task):
        assert (task.acks_late, task.reject_on_worker_lost) == (True, True)


def test_an_app_without_a_broker_gets_that_of_nexus(make_app: MakeApp, settings: Settings) -> None:
    assert make_app().conf.broker_url == "filesystem://localhost/"
    settings.NEXUS = {"BROKER_URL": RABBITMQ, "QUEUE_PREFIX": "shop."}
    app = make_app()
    assert app.conf.broker_url == RABBITMQ
    assert app.conf.broker_transport_options == {"confirm_publish": True}
    assert consumed(app) == {"celery", "shop.nexus.tasks"}
    assert app.amqp.queues["shop.nexus.tasks"].queue_arguments["x-queue-type"] == "quorum"
    signals.celeryd_init.send(sender="shop@host", instance=SimpleNamespace(app=app))
    assert consumed(app) == {"celery", "shop.nexus.tasks"}
    assert consumed(app, "shop.nexus.transactional") == {"shop.nexus.transactional"}, (
        "a stock worker can be given the messages"
    )
    assert app.amqp.queues["shop.nexus.transactional"].queue_arguments["x-dead-letter-exchange"] == "shop.nexus.dlx"


def test_a_broker_that_celery_only_copied_from_the_environment_is_not_its_own(
    make_app: MakeApp, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.NEXUS = {"BROKER_URL": "memory://copied"}
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://copied")
    app = make_app()
    app.finalize()
    assert app.conf.task_queues, "the configuration is read, as the celery command does before it connects"
    assert app.conf.broker_url == "filesystem://localhost/"
    assert "CELERY_BROKER_URL" not in os.environ


def test_an_app_that_is_in_use_already_gets_the_queues_too() -> None:
    app = Celery("shop", set_as_current=False)
    assert not is_installed(app)
    install(app)
    assert consumed(app) == {"celery", TASK_QUEUE}


def test_queues_declared_as_a_mapping_stay(make_app: MakeApp) -> None:
    assert consumed(make_app(task_queues={"fast": {"exchange": "fast"}})) == {"fast", TASK_QUEUE}


def test_installed_twice_it_is_there_once(make_app: MakeApp) -> None:
    app = make_app()
    install(app)
    assert app.conf.task_routes == [{"nexus.*": {"queue": TASK_QUEUE}}]
    assert consumed(app) == {"celery", TASK_QUEUE}


@pytest.mark.parametrize("broken", [{"NONSENSE": 1}, {"BROKER_URL": "smtp://mail"}])
def test_settings_that_cannot_be_read_are_left_to_the_check(
    make_app: MakeApp, settings: Settings, broken: dict[str, object]
) -> None:
    settings.NEXUS = broken
    app = make_app()
    assert set(app.amqp.queues) == {"celery"}
