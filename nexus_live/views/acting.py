"""Taking part: speak, answer approvals and questions."""

from __future__ import annotations

from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest

from agents.api import ReliableNexusGroupChatManager, answer_approval, user_proxies
from agents.models import Approval, ChatSession
from messaging.api import ReliableCommunicationBus
from nexus_api.problems import ApiProblem
from nexus_live.access import Visitor, find_workflow
from nexus_live.entrance import act
from nexus_live.sharing import note_act

MAX_SAID = 50_000


class NothingSaid(ApiProblem):
    """A text is missing, too long, or was said to nobody.

    Args:
        detail: what is wrong, and what to do.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(422, "nothing-said", detail)


def _text(request: HttpRequest, *, needed: bool) -> str:
    text = request.POST.get("text", "").strip()
    if (needed and not text) or len(text) > MAX_SAID:
        raise NothingSaid(f"Write something first, at most {MAX_SAID} characters.")
    return text


def _visit(request: HttpRequest, workflow_id: UUID) -> Visitor:
    visitor = Visitor(user=request.user)
    find_workflow(visitor, workflow_id)
    return visitor


@act
def say(request: HttpRequest, workflow_id: UUID) -> str:
    """Say something into a chat, as its user; repeating the form's key says nothing more."""
    if not _visit(request, workflow_id).may_speak:
        raise PermissionDenied("You may not speak here: nexus.add_message is missing.")
    text = _text(request, needed=True)
    key = request.POST.get("key", "")[:100]
    if not ChatSession.objects.filter(pk=workflow_id).exists():
        raise NothingSaid("This workflow is no chat: nobody would hear it.")
    with transaction.atomic():
        ReliableNexusGroupChatManager().say(
            workflow_id, text, deduplication_id=f"live: {request.user.pk}: {key}" if key else None
        )
        note_act(request.user, "say", workflow_id)
    return "Sent."


@act
def answer(request: HttpRequest, workflow_id: UUID, approval_id: UUID) -> str:
    """Answer an approval in the name of the user."""
    if not _visit(request, workflow_id).may_answer:
        raise PermissionDenied("You may not answer: nexus_agents.change_approval is missing.")
    if not Approval.objects.filter(pk=approval_id, workflow=workflow_id).exists():
        raise Http404(f"There is no approval {approval_id}.")
    decision = request.POST.get("decision")
    if decision not in ("approve", "deny"):
        raise NothingSaid("Approve or deny.")
    approved = decision == "approve"
    answer_approval(approval_id, approved=approved, text=_text(request, needed=False), by=request.user.get_username())
    return "Approved." if approved else "Denied."


@act
def reply(request: HttpRequest, workflow_id: UUID, question_id: UUID) -> str:
    """Answer what a user's proxy was asked."""
    visitor = _visit(request, workflow_id)
    if not (visitor.may_answer and visitor.may_speak):
        raise PermissionDenied("You may not answer: nexus.add_message or nexus_agents.change_approval is missing.")
    text = _text(request, needed=True)
    bus = ReliableCommunicationBus()
    for proxy in user_proxies():
        if any(question.id == question_id for question in proxy.questions(workflow_id)):
            with transaction.atomic():
                proxy.answer(bus, workflow_id, question_id, text)
                note_act(request.user, "reply", workflow_id, f"question {question_id}")
            return "Sent."
    raise NothingSaid(f"No question {question_id} waits here (any more).")
