"""How workflows stand besides their messages: status, chat, what waits for a person."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from agents.api import user_proxies
from agents.models import Approval, ApprovalStatus, ChatSession
from messaging.extension import cut_text
from messaging.operating import Workflow

MAX_WAITING = 100
"""Approvals and questions of one workflow that are shown."""
MAX_ASKED = 2_000
"""Approvals that are read at once, of all workflows."""
MAX_TEXT = 20_000


def tell_all(workflows: Collection[UUID]) -> Mapping[UUID, dict[str, Any]]:
    """For those who may answer: with what waits for a person."""
    told = _told(workflows)
    for row in _waiting(workflows):
        told.get(row.workflow_id, {}).setdefault("approvals", []).append(_show(row))
    for proxy in user_proxies():
        for workflow, questions in proxy.questions_in(workflows).items():
            for question in questions[:MAX_WAITING]:
                told.get(workflow, {}).setdefault("questions", []).append(
                    {
                        "id": str(question.id),
                        "proxy": proxy.name,
                        "from": question.source,
                        "type": question.type,
                        "data": question.data,
                    }
                )
    return told


def tell_readers(workflows: Collection[UUID]) -> Mapping[UUID, dict[str, Any]]:
    """For those who only watch: that something waits, not what."""
    told = _told(workflows)
    for row in _waiting(workflows):
        state = told.get(row.workflow_id, {})
        state["waiting"] = state.get("waiting", 0) + 1
    return told


def _told(workflows: Collection[UUID]) -> dict[UUID, dict[str, Any]]:
    rows = Workflow.objects.filter(pk__in=workflows).values_list("pk", "status", "status_reason", "ended_at")
    told: dict[UUID, dict[str, Any]] = {
        key: {"status": status, "reason": cut_text(reason, 500), "over": ended is not None}
        for key, status, reason, ended in rows
    }
    chats = ChatSession.objects.filter(pk__in=workflows).values_list("pk", "status", "reason")
    for key, status, reason in chats:
        if key in told:
            told[key]["chat"] = {"status": status, "reason": cut_text(reason, 500)}
    return told


def _waiting(workflows: Collection[UUID]) -> list[Approval]:
    rows = Approval.objects.filter(workflow__in=workflows, status=ApprovalStatus.WAITING)
    return list(rows.order_by("created_at", "pk")[:MAX_ASKED])


def _show(row: Approval) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "purpose": row.purpose,
        "member": row.member,
        "question": cut_text(row.question, MAX_TEXT),
        "content": cut_text(row.content, MAX_TEXT),
        "options": row.options[:MAX_WAITING],
        "deadline": row.deadline_at,
    }
