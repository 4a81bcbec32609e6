"""Tasks for tests; SERVER_URL says where they count and wait."""

from __future__ import annotations

import os
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group

from messaging.api import TerminalError, TransientError
from nexus_tasks.library import TaskContext
from nexus_tasks.library import task as make_task
from tests.support.model_server import call_count, wait_gate

SERVER = os.environ.get("SERVER_URL", "")
FAILING = {"times": 0}


class Broken(Exception):
    """What a task of these raises."""


@make_task()
def join(*parts: str, sign: str = "") -> str:
    return sign.join(parts)


@make_task()
async def count_groups(name: str) -> int:
    """An async task: it sees the transaction that it runs in."""
    await Group.objects.acreate(name=name)
    return await sync_to_async(Group.objects.count)()


@make_task(takes_context=True)
def attempt(context: TaskContext, failures: int) -> int:
    if context.attempt <= failures:
        raise TransientError("not yet", retry_after=60)
    return context.attempt


@make_task()
def create_and_break(name: str) -> None:
    Group.objects.get_or_create(name=name)
    raise Broken(f"after {name}")


@make_task()
def refuse() -> None:
    raise TerminalError("never")


@make_task()
def create_once(name: str) -> Any:
    """Is killed between its effect and its commit."""
    Group.objects.create(name=name)
    wait_gate(SERVER, "transactional")
    return {"count": Group.objects.filter(name=name).count()}


@make_task()
def call_twice() -> int:
    """Is killed behind its call."""
    calls = call_count(SERVER, "call")
    wait_gate(SERVER, "leased")
    return calls
