"""Django's tasks beyond the death of their worker."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings

from messaging.testing.servers.waiting import wait_until
from nexus_tasks.library import TaskResultStatus
from tests.integration.agents.processes.conftest import MakeSite
from tests.support import task_functions, tasks_site
from tests.support.model_server import ModelServer


def test_killed_tasks_are_done_once(
    make_site: MakeSite, server: ModelServer, settings: Settings, project_environment: dict[str, str]
) -> None:
    """The effect of a transactional task and its result are one transaction; a leased task has one result."""
    project_environment["DJANGO_SETTINGS_MODULE"] = "tests.support.tasks_site"
    settings.TASKS = tasks_site.TASKS
    with make_site("tests.support.task_functions", redelivery_after=1) as site:
        leased = task_functions.call_twice.enqueue()
        server.wait_at("leased")
        assert task_functions.call_twice.get_result(leased.id).status == TaskResultStatus.RUNNING
        quick = task_functions.create_once.using(backend="quick").enqueue("once")
        server.wait_at("transactional")
        site.worker.kill()
        assert not Group.objects.filter(name="once").exists()
        server.open("leased", "transactional")
        site.worker.start()
        for result in (leased, quick):
            wait_until(lambda result=result: result.refresh() or result.is_finished, 30, site.worker.log)
        assert quick.return_value == {"count": 1}
        assert Group.objects.filter(name="once").count() == 1
        assert (leased.return_value, server.counts["call"]) == (2, 2), "its call was repeated, its result is one"
