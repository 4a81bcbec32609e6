"""A client's message: it begins a task, answers for a person, or is said into a chat; each once, whatever is repeated.

What was said is known by its ``messageId``: the caller and it make the deduplication id of the workflow or of the
message, which is stored in the transaction that does the work.
"""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID, uuid4

from django.db import transaction

from agents.api import AgentTeamBuilder, ReliableNexusGroupChatManager, answer_approval
from agents.models import Approval, ApprovalPurpose
from messaging.api import ReliableCommunicationBus
from messaging.operating import Message, Workflow
from nexus_a2a.errors import INVALID_PARAMS, NO_PUSH, UNSUPPORTED, A2AProblem
from nexus_a2a.models import A2ATask
from nexus_a2a.params import ClientMessage, SendParams
from nexus_a2a.tasks import TERMINAL, context_of, find_task
from nexus_api.callers import Caller
from nexus_api.models import Visibility
from nexus_api.problems import ApiProblem
from nexus_api.scopes import Scope
from nexus_api.visibility import note_origin

YES = frozenset({"yes", "y", "ok", "approve", "approved"})
NO = frozenset({"no", "n", "reject", "rejected"})


def take_message(caller: Caller, team: str, params: SendParams) -> str:
    """Take a message.

    Args:
        caller: who says it.
        team: which offers A2A.
        params: of the request.

    Returns:
        The id of its task.

    Raises:
        A2AProblem, ApiProblem, NexusError: nothing was stored.
    """
    params.check()
    if params.configuration is not None and params.configuration.task_push_notification_config is not None:
        raise A2AProblem(NO_PUSH, "There are no push notifications. Stream, subscribe or ask again.")
    message = params.message
    if not message.all_text.strip():
        raise A2AProblem(INVALID_PARAMS, "message.parts: say something.")
    key = _key(caller, team, message)
    with transaction.atomic():
        if message.task_id:
            _go_on(caller, team, message, key)
            return message.task_id
        return str(_begin(caller, team, message, key))


def _key(caller: Caller, team: str, message: ClientMessage) -> str:
    said = f"{caller.identity}\0{team}\0{message.message_id}"
    return f"a2a:{hashlib.sha256(said.encode()).hexdigest()}"


def _begin(caller: Caller, team: str, message: ClientMessage, key: str) -> UUID:
    caller.check(Scope.WORKFLOWS_START)
    if caller.token is not None and caller.token.visibility == Visibility.TEAM and caller.token.team != team:
        raise ApiProblem(403, "team-not-allowed", f"This token may start chats of the team {caller.token.team!r} only.")
    known = Workflow.objects.filter(deduplication_id=key).values_list("pk", flat=True).first()
    if known is not None:  # before the team is read: it may have changed meanwhile
        return known
    bus = ReliableCommunicationBus()
    definition = AgentTeamBuilder(bus).build_team(team)
    chat = ReliableNexusGroupChatManager(bus).start_chat(definition, message.all_text, deduplication_id=key)
    _, created = A2ATask.objects.get_or_create(
        workflow_id=chat, defaults={"context_id": message.context_id or str(uuid4())}
    )
    if created:
        note_origin(caller, chat)
    return chat


def _go_on(caller: Caller, team: str, message: ClientMessage, key: str) -> None:
    task = find_task(caller, team, message.task_id or "")
    if message.context_id and message.context_id != context_of(task):
        raise A2AProblem(INVALID_PARAMS, "message.contextId: the task belongs to another context.")
    if task.workflow.deduplication_id == key or Message.objects.filter(workflow=task.pk, deduplication_id=key).exists():
        return
    if task.task_state in TERMINAL:
        raise A2AProblem(UNSUPPORTED, f"The task is over ({task.task_state}). Start another one.")
    waiting = list(Approval.objects.filter(workflow=task.pk, status="waiting").order_by("created_at", "pk")[:2])
    if waiting or "approval" in message.decision:
        caller.check(Scope.APPROVALS_ANSWER)
        _answer(_chosen(task, waiting, message.decision), message, caller.name, key)
    else:
        caller.check(Scope.MESSAGES_SEND)
        ReliableNexusGroupChatManager().say(task.pk, message.all_text, deduplication_id=key)


def _chosen(task: Any, waiting: list[Approval], decision: dict[str, Any]) -> Approval:
    named = decision.get("approval")
    if named is None:
        if len(waiting) > 1 and waiting[0].purpose == ApprovalPurpose.APPROVAL:
            raise A2AProblem(INVALID_PARAMS, "Several things wait for a person: name the approval in a data part.")
        return waiting[0]
    try:
        found = Approval.objects.filter(workflow=task.pk, pk=UUID(str(named))).first()
    except ValueError:
        found = None
    if found is None:
        raise A2AProblem(INVALID_PARAMS, "approval: the task has none with this id.")
    return found


def _answer(approval: Approval, message: ClientMessage, by: str, key: str) -> None:
    decision = message.decision
    approved, text = decision.get("approved"), decision.get("text", message.text)
    if not isinstance(text, str) or not isinstance(approved, bool | None):
        raise A2AProblem(INVALID_PARAMS, 'The data of an answer are {"approval": id, "approved": bool, "text": text}.')
    if approved is None and approval.purpose == ApprovalPurpose.APPROVAL:
        approved, text = _decided(text)
    answer_approval(approval.pk, approved=approved is not False, text=text.strip(), by=by, deduplication_id=key)


def _decided(text: str) -> tuple[bool, str]:
    """Yes or no, and the comment behind a colon. What is neither is no answer: nothing is approved by mistake."""
    word, _, comment = text.partition(":")
    word = word.strip().rstrip(".!").casefold()
    if word in YES or word in NO:
        return word in YES, comment
    raise A2AProblem(
        INVALID_PARAMS,
        'Answer with yes or no (a comment behind a colon), or with the data {"approval": id, "approved": bool}.',
    )
