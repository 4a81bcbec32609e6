"""Django's tasks on Nexus: enqueued in the caller's transaction, run once, read back."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone
from pytest_django.fixtures import Settings

from messaging.api import ReliableCommunicationBus, SendError, TerminalError, registry
from messaging.directory.names import save_registered_agents
from messaging.models import DeadLetter, Delivery, Message, Timer, Workflow
from messaging.recovery.replay import discard
from messaging.testing import drain
from nexus_tasks.backend import NexusBackend
from nexus_tasks.library import TaskResult, TaskResultDoesNotExist, TaskResultStatus, task_backends
from nexus_tasks.library import task_finished as finished_signal
from nexus_tasks.names import KEEPER, RUN
from nexus_tasks.queues import register_queues, watch_failures
from tests.support import task_functions, tasks_site
from tests.support.paths import ROOT

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def tasks(settings: Settings) -> Iterator[None]:
    """The backends of ``tasks_site``, with their agents."""
    yield from use(settings, tasks_site.TASKS)


def use(settings: Settings, configured: dict[str, Any]) -> Iterator[None]:
    before = {spec.name for spec in registry}
    settings.TASKS = configured
    register_queues()
    watch_failures()
    save_registered_agents()
    yield
    for name in {spec.name for spec in registry} - before:
        registry.remove(name)


@pytest.fixture(params=["default", "quick"])
def backend(request: pytest.FixtureRequest) -> str:
    """A leased backend and a transactional one."""
    return str(request.param)


def test_a_task_runs_once_its_transaction_commits(backend: str) -> None:
    told: list[TaskResult[Any]] = []
    finished_signal.connect(lambda task_result, **_: told.append(task_result), weak=False, dispatch_uid="test")
    try:
        result = task_functions.join.using(backend=backend).enqueue("a", "b", sign="-")
        assert (result.status, result.is_finished) == (TaskResultStatus.READY, False)
        drain()
        result.refresh()
    finally:
        finished_signal.disconnect(dispatch_uid="test")
    assert (result.status, result.return_value, result.attempts) == (TaskResultStatus.SUCCESSFUL, "a-b", 1)
    assert result.started_at is not None
    assert result.finished_at is not None
    assert result.enqueued_at is not None
    assert result.enqueued_at <= result.started_at <= result.finished_at
    found = task_functions.join.using(backend=backend).get_result(result.id)
    assert (found.args, found.kwargs, found.task.queue_name) == (["a", "b"], {"sign": "-"}, "default")
    assert Workflow.objects.get().status == "completed"
    with pytest.raises(TaskResultDoesNotExist):
        task_backends["quick" if backend == "default" else "default"].get_result(result.id)


def test_what_is_rolled_back_was_never_enqueued() -> None:
    with transaction.atomic():
        result = task_functions.join.enqueue("a")
        transaction.set_rollback(True)
    assert Workflow.objects.count() == Message.objects.count() == 0
    for identifier in (result.id, "nonsense", str(uuid4())):
        with pytest.raises(TaskResultDoesNotExist):
            task_functions.join.get_result(identifier)


def test_a_deferred_task_waits(backend: str) -> None:
    later = task_functions.join.using(backend=backend, run_after=timezone.now() + timedelta(hours=1))
    result = later.enqueue("late")
    assert Delivery.objects.count() == 0
    assert later.get_result(result.id).status == TaskResultStatus.READY
    drain()
    assert later.get_result(result.id).status == TaskResultStatus.READY
    Timer.objects.update(due_at=timezone.now())
    ReliableCommunicationBus().send_due_timers()
    drain()
    result.refresh()
    assert result.return_value == "late"
    past = task_functions.join.using(run_after=timezone.now() - timedelta(hours=1)).enqueue("at once")
    assert Delivery.objects.filter(workflow=UUID(past.id)).exists()


def test_async_tasks_and_async_callers(backend: str) -> None:
    if backend == "quick":
        result: TaskResult[Any] = task_functions.count_groups.using(backend=backend).enqueue("one")
        drain()
        result.refresh()
        assert Group.objects.filter(name="one").exists()
        assert result.return_value == Group.objects.count()
    sent = async_to_sync(task_functions.join.using(backend=backend).aenqueue)("a")
    assert async_to_sync(sent.task.aget_result)(sent.id).status == TaskResultStatus.READY


def test_a_task_that_fails_is_tried_again_then_waits_for_an_operator(backend: str) -> None:
    result = task_functions.create_and_break.using(backend=backend).enqueue("effect")
    drain(allow_dead_letters=True)
    result.refresh()
    assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 2)
    assert result.errors[0].exception_class is task_functions.Broken
    assert "after effect" in result.errors[0].traceback
    with pytest.raises(ValueError, match="failed"):
        _ = result.return_value
    if backend == "quick":
        assert not Group.objects.filter(name="effect").exists(), "its effects went with its transaction"
    letter = DeadLetter.objects.get()
    discard(letter.pk, user="test", reason="never mind")
    assert Workflow.objects.get().status == "cancelled"
    result.refresh()
    assert result.status == TaskResultStatus.FAILED


def test_a_task_that_failed_once_succeeds(backend: str) -> None:
    result = task_functions.attempt.using(backend=backend).enqueue(1)
    drain()
    result.refresh()
    assert (result.return_value, result.attempts, result.status) == (2, 2, "SUCCESSFUL")


def test_a_terminal_error_is_not_tried_again() -> None:
    result = task_functions.refuse.enqueue()
    report = drain(allow_dead_letters=True)
    result.refresh()
    assert (len(report.retries), result.attempts) == (0, 1)
    assert result.errors[0].exception_class is TerminalError


def test_tasks_do_not_wait_for_one_another() -> None:
    task_functions.refuse.enqueue()
    behind = task_functions.join.enqueue("behind")
    drain(allow_dead_letters=True)
    behind.refresh()
    assert behind.status == TaskResultStatus.SUCCESSFUL


def test_nobody_else_can_have_a_task_run() -> None:
    bus = ReliableCommunicationBus()
    bus.register_agent("web")
    data = {"backend": "default", "task": task_functions.join.module_path, "args": ["x"], "kwargs": {}}
    bus.send(bus.start_workflow("attack"), "tasks.default.default", RUN, data, sender="web")
    bus.send(bus.start_workflow("no task"), "tasks.default.default", RUN, {**data, "task": "os.system"}, sender=KEEPER)
    report = drain(allow_dead_letters=True)
    errors = [handling.error for handling in report.dead_letters]
    assert "only a backend of TASKS may" in errors[0]
    assert "os.system is no task" in errors[1]


def test_what_cannot_be_is_refused() -> None:
    for changes in ({"priority": 5}, {"queue_name": "unknown"}):
        with pytest.raises(Exception, match=r"priority|not valid"):
            task_functions.join.using(**changes)
    with pytest.raises((TypeError, SendError)):
        task_functions.join.enqueue(object())  # type: ignore[arg-type]
    impossible: dict[str, dict[str, Any]] = {
        "a.b": {},
        "none": {"QUEUES": []},
        "name": {"QUEUES": ["Not A Name"]},
        "option": {"OPTIONS": {"RETRIES": 3}},
        "kind": {"OPTIONS": {"KIND": "fast"}},
        "retry": {"OPTIONS": {"RETRY": {"times": 3}}},
        "rate": {"OPTIONS": {"KIND": "transactional", "RATE": 3}},
    }
    for alias, params in impossible.items():
        with pytest.raises(ImproperlyConfigured, match=re.escape(f"TASKS['{alias}']")):
            NexusBackend(alias, params)
    (problem,) = NexusBackend("check", {}).check()
    assert problem.id == "nexus.E025"


def test_the_document(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/django-tasks.md runs as it stands."""
    text = (ROOT / "docs" / "django-tasks.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "tasks.py").write_text(blocks["shop/tasks.py"], encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    configured: dict[str, Any] = {"INSTALLED_APPS": []}
    exec(blocks["settings.py"], configured)
    for _ in use(settings, configured["TASKS"]):
        place: dict[str, Any] = {}
        exec(blocks["shop/views.py"], place)
        result = place["place_order"]("lamp", "ada@example.com")
        drain()
        assert place["show"](result.id) == "sent to ada@example.com: lamp"
    for name in ("shop.tasks", "shop"):
        sys.modules.pop(name, None)
