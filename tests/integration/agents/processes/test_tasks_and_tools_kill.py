"""Django's tasks, and an assistant that calls tools of an MCP server, beyond the death of their worker."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from pytest_django.fixtures import Settings

from agents.llm.ledger import INTERRUPTED
from messaging.models import Message
from messaging.testing.servers.waiting import wait_until
from nexus_api.showing import labels_of
from nexus_tasks.library import TaskResult, TaskResultStatus
from tests.integration.agents.processes.conftest import MakeSite
from tests.support import task_functions, tasks_site
from tests.support.model_server import ModelServer

AGENTS = "tests.support.task_functions,tests.integration.agents.processes.apps.mcp_assistant"


def finished(result: TaskResult[Any]) -> bool:
    result.refresh()
    return result.is_finished


def test_what_was_done_is_done_once(
    make_site: MakeSite, server: ModelServer, settings: Settings, project_environment: dict[str, str]
) -> None:
    """All are killed together, once, each in its middle.

    The effect of a transactional task and its result are one transaction; a leased task has one result; a tool call
    that was answered is not made again, and of the one that was under way the model is told that nobody knows.
    """
    project_environment["DJANGO_SETTINGS_MODULE"] = "tests.support.tasks_site"
    settings.TASKS = tasks_site.TASKS
    with make_site(AGENTS, redelivery_after=1) as site:
        asked = site.send(site.bus.start_workflow("mcp"), "librarian", "What is there?")
        leased = task_functions.call_twice.enqueue()
        server.wait_at("leased")
        server.wait_at("tool")
        assert task_functions.call_twice.get_result(leased.id).status == TaskResultStatus.RUNNING
        quick = task_functions.create_once.using(backend="quick").enqueue("once")
        server.wait_at("transactional")
        site.worker.kill()
        assert not Group.objects.filter(name="once").exists()
        server.open("leased", "transactional", "tool")
        site.worker.start()
        wait_until(lambda: finished(leased) and finished(quick), 30, site.worker.log)
        assert quick.return_value == {"count": 1}
        assert Group.objects.filter(name="once").count() == 1
        assert leased.return_value == 2, "its call was repeated, its result is one"
        assert site.reply_to(asked)["text"] == f"first 1 / {INTERRUPTED}"
        assert server.counts == {"call": 2, "first": 1, "second": 1}
        assert labels_of(Message.objects.get(correlation_id=asked)) == "origin:mcp-shop"
