"""External agents: register, lease, renew, complete, fail. docs/external-agents.md has the protocol."""

from __future__ import annotations

import threading
from time import monotonic
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.responses import Status

from messaging.api import LabelPolicy, TerminalError, TransientError
from messaging.operating import (
    HandlerContext,
    LeasedMessage,
    LeaseLost,
    Outcome,
    complete,
    fail,
    lease,
    register_external,
    renew,
)
from nexus_api.callers import Caller, caller_of
from nexus_api.idempotency import find_kept, keep_answer
from nexus_api.problems import ApiProblem
from nexus_api.routing import changes
from nexus_api.scopes import Scope
from nexus_api.shapes.external_agents import (
    CompletedOut,
    CompletionIn,
    ExternalAgentIn,
    ExternalAgentOut,
    FailureIn,
    LeaseIn,
    LeaseOut,
    RenewalIn,
    RenewedOut,
    SentIn,
)
from nexus_api.slots import WAITING

router = Router(tags=["external agents"])

FIRST_PAUSE, MAX_PAUSE = 0.05, 0.5
"""Seconds between two looks at the log."""


KEPT = "leases"
"""To whom answers belong that are kept for repeats: a token of a lease is as good as a caller."""


def _acting(request: HttpRequest, agent: str) -> Caller:
    """The caller, who may act for an agent.

    Raises:
        ApiProblem: 403.
    """
    caller = caller_of(request)
    caller.check_acts_for(agent)
    return caller


@changes(router, "/{agent}", Scope.AGENTS_ACT, {200: ExternalAgentOut}, problems=(409,))
def register(request: HttpRequest, agent: str, body: ExternalAgentIn) -> Any:
    caller = _acting(request, agent)
    said = body.model_dump(exclude={"origin", "accepts_labels"})
    accepted = body.accepts_labels
    policy = None if accepted is None else LabelPolicy(untrusted=accepted.untrusted, private=_names(accepted.private))
    may_loosen = caller.may(Scope.AGENTS_OPERATE)
    spec = register_external(
        agent, by=caller.name, origin=body.origin or "", accepts_labels=policy, may_loosen=may_loosen, **said
    )
    shown = {field: getattr(spec, field) for field in (*said, "name") if field != "max_attempts"}
    return {
        **shown,
        "max_attempts": body.max_attempts,
        "origin": spec.origin or None,
        "accepts_labels": accepted,
    }


def _names(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


@changes(router, "/{agent}/lease", Scope.AGENTS_ACT, {200: LeaseOut}, problems=(404,))
def lease_messages(request: HttpRequest, agent: str, body: LeaseIn) -> Any:
    caller = _acting(request, agent)
    if not body.wait:
        return _show(lease(agent, limit=body.limit, visibility=body.visibility))
    with WAITING.place(caller.identity):
        return _show(_wait(caller, agent, body))


def _wait(caller: Caller, agent: str, body: LeaseIn) -> list[LeasedMessage]:
    deadline, pause, waiting = monotonic() + body.wait, FIRST_PAUSE, threading.Event()
    while True:
        leased = lease(agent, limit=body.limit, visibility=body.visibility)
        left = deadline - monotonic()
        if leased or left <= 0:
            return leased
        waiting.wait(min(pause, left))
        pause = min(MAX_PAUSE, pause * 1.5)
        if not caller.still_holds():
            return []


def _show(leased: list[LeasedMessage]) -> dict[str, Any]:
    return {"messages": [_show_one(one) for one in leased]}


def _show_one(leased: LeasedMessage) -> dict[str, Any]:
    context, message = leased.context, leased.context.message
    return {
        "delivery": context.delivery_id,
        "token": leased.token,
        "expires_at": leased.expires_at,
        "deadline": context.deadline,
        "attempt": context.attempt,
        "labels": str(context.labels) or None,
        "state": dict(leased.state),
        "once": dict(leased.once),
        "message": {
            "id": message.message_id,
            "workflow": message.workflow_id,
            "sequence": message.sequence,
            "type": message.type,
            "sender": message.source,
            "recipient": message.subject,
            "data": message.data,
            "correlation_id": message.correlationid,
            "created_at": message.time,
        },
    }


@changes(router, "/{agent}/deliveries/{uuid:delivery}/renew", Scope.AGENTS_ACT, {200: RenewedOut}, problems=(404, 409))
def renew_lease(request: HttpRequest, agent: str, delivery: UUID, body: RenewalIn) -> Any:
    _acting(request, agent)
    return {"expires_at": renew(agent, delivery, body.token, visibility=body.visibility, once=body.once)}


@changes(
    router, "/{agent}/deliveries/{uuid:delivery}/complete", Scope.AGENTS_ACT, {200: CompletedOut}, problems=(404, 409)
)
def complete_delivery(
    request: HttpRequest, agent: str, delivery: UUID, body: CompletionIn, response: HttpResponse
) -> Any:
    _acting(request, agent)
    key = f"{delivery} {body.token}"

    def fill(context: HandlerContext) -> None:
        for reply in body.replies:
            context.reply(reply.data, type=reply.type)
        for sent in body.sends:
            _send(context, sent)
        if body.state is not None:
            context.state.clear()
            context.state.update(body.state)

    def keep(outcome: Outcome) -> None:
        keep_answer(request, KEPT, key, body, {"outcome": outcome.value})

    try:
        outcome = complete(agent, delivery, body.token, fill=fill, once=body.once, keep=keep)
    except LeaseLost:
        kept = find_kept(request, response, KEPT, key, body)  # its answer was lost, perhaps
        if kept is None:
            raise
        return kept
    return {"outcome": outcome.value}


def _send(context: HandlerContext, sent: SentIn) -> None:
    context.send(
        sent.recipient,
        sent.type,
        sent.data,
        correlation_id=sent.correlation_id,
        deduplication_id=sent.deduplication_id,
        expires_in=sent.expires_in,
        delay=sent.delay,
        labels=sent.labels,
    )


@changes(router, "/{agent}/deliveries/{uuid:delivery}/fail", Scope.AGENTS_ACT, {204: None}, problems=(404, 409))
def fail_delivery(request: HttpRequest, agent: str, delivery: UUID, body: FailureIn) -> Any:
    _acting(request, agent)
    if body.terminal and body.retry_after is not None:
        raise ApiProblem(422, "invalid-values", "retry_after: a terminal failure is not tried again.")
    error = TerminalError(body.error) if body.terminal else TransientError(body.error, retry_after=body.retry_after)
    fail(agent, delivery, body.token, error)
    return Status(204, None)
