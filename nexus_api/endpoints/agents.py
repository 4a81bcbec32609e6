"""Agents: list, read, pause, resume."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from messaging.api import EnvelopeError, pause_agent, resume_agent
from messaging.extension import check_agent_name
from messaging.operating import Agent, AgentSetting, perform
from nexus_api.callers import caller_of
from nexus_api.pages import MAX_PAGE, page
from nexus_api.problems import ApiProblem, not_found
from nexus_api.routing import changes, reads
from nexus_api.scopes import Scope
from nexus_api.shapes.answers import AgentOut, AgentPage, ResumedOut
from nexus_api.shapes.bodies import ReasonIn

router = Router(tags=["agents"])


def _show(agent: Agent, paused: dict[str, str]) -> dict[str, Any]:
    fields = ("name", "kind", "description", "registered_at")
    return {
        **{field: getattr(agent, field) for field in fields},
        "paused": agent.name in paused,
        "paused_reason": paused.get(agent.name, ""),
    }


def _paused() -> dict[str, str]:
    return dict(AgentSetting.objects.filter(paused=True).values_list("agent", "reason"))


def _find(name: str) -> Agent:
    try:
        check_agent_name(name)
    except EnvelopeError:
        raise not_found("agent", repr(name)) from None
    found = Agent.objects.filter(name=name).first()
    if found is None:
        raise not_found("agent", repr(name))
    return found


def _with_handler(name: str) -> str:
    if _find(name).kind is None:
        raise ApiProblem(409, "no-handler", f"{name} is a program without a handler: there is nothing to pause.")
    return name


@reads(router, "", Scope.AGENTS_READ, {200: AgentPage}, problems=(422,))
def list_agents(
    request: HttpRequest,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Any:
    paused = _paused()
    return page(Agent.objects.all(), ("name",), cursor, limit, lambda agent: _show(agent, paused))


@reads(router, "/{agent}", Scope.AGENTS_READ, {200: AgentOut}, problems=(404,))
def read(request: HttpRequest, agent: str) -> Any:
    return _show(_find(agent), _paused())


@changes(router, "/{agent}/pause", Scope.AGENTS_OPERATE, {200: AgentOut}, problems=(404, 409))
def pause(request: HttpRequest, agent: str, body: ReasonIn) -> Any:
    name, caller = _with_handler(agent), caller_of(request)

    def do() -> str:
        pause_agent(name, reason=body.reason, user=caller.name)
        return ""

    perform(caller.actor, "pause", Agent, name, do, reason=body.reason)
    return _show(_find(agent), _paused())


@changes(router, "/{agent}/resume", Scope.AGENTS_OPERATE, {200: ResumedOut}, problems=(404, 409), body=False)
def resume(request: HttpRequest, agent: str) -> Any:
    name, caller = _with_handler(agent), caller_of(request)
    released = 0

    def do() -> str:
        nonlocal released
        released = resume_agent(name, user=caller.name)
        return ""

    perform(caller.actor, "resume", Agent, name, do)
    return {"released": released}
