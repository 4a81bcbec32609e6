"""What stands on a workflow's page beside its row: how far it is, its messages, the picture, and what operators did."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from messaging.admin import display
from messaging.admin.sequence_diagram import draw
from messaging.core.describing import visible
from messaging.directory.pausing import paused_agents
from messaging.models import (
    DeadLetter,
    DeadLetterStatus,
    Delivery,
    DeliveryState,
    Message,
    OperatorAct,
    Verdict,
    Workflow,
)
from messaging.operators.timeline import (
    WINDOW,
    MailboxProgress,
    TimelineDelivery,
    TimelineMessage,
    read_mailboxes,
    read_window,
)
from messaging.operators.verifying import verify_message
from messaging.security.signatures import keys

MAX_ACTS = 50
MAX_LETTERS = 50
MAX_SHOWN_DELIVERIES = 20
"""Of one message; its own page shows more."""
_SKIPPABLE = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.HELD, DeliveryState.DEAD)


def page_context(request: HttpRequest, workflow: Workflow, *, may_operate: bool) -> dict[str, Any]:
    """What the template shows.

    Args:
        request: may ask for a window (``first``), and to have its signatures checked (``verify``).
        workflow: whose page it is.
        may_operate: whether to offer what changes something.
    """
    first = _asked_first(request, workflow)
    window = read_window(workflow, first)
    mailboxes = read_mailboxes(workflow)
    sent, processed = sum(box.sent for box in mailboxes), sum(box.processed for box in mailboxes)
    verified = _verify([message.row for message in window.messages]) if "verify" in request.GET else None
    return {
        "flow": workflow,
        "status": display.state(workflow.status),
        "deadline": display.moment(workflow.deadline_at),
        "sent": sent,
        "processed": processed,
        "members": _members(mailboxes),
        "gaps": [box for box in mailboxes if box.gap],
        "letters": _letters(workflow),
        "acts": _acts(workflow),
        "window": window,
        "verified": verified is not None,
        "rows": [
            _row(message, verified, may_operate=may_operate)
            | ({} if request.user.has_perm("nexus.view_message") else {"preview": ""})
            for message in window.messages
        ],
        "diagram": draw(window.messages),
        "previous": max(1, first - WINDOW) if first > 1 else None,
        "next": window.last + 1 if window.last < workflow.sequence else None,
        "newest": max(1, workflow.sequence - WINDOW + 1),
        "may_operate": may_operate,
    }


def _asked_first(request: HttpRequest, workflow: Workflow) -> int:
    """The sequence number to begin with: the one that is asked for, or so that the newest messages are seen."""
    text = request.GET.get("first", "")
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return max(1, int(text))
    return max(1, workflow.sequence - WINDOW + 1)


def _members(mailboxes: list[MailboxProgress]) -> SafeString | str:
    paused = set(paused_agents()) if mailboxes else set()
    return display.table(
        ("Agent", "Sent to it", "Done", "Not done", "Labels", ""),
        (
            (
                box.agent,
                box.sent,
                box.processed,
                box.sent - box.processed,
                box.labels or "-",
                display.state("paused", "agent paused") if box.agent in paused else "",
            )
            for box in mailboxes
        ),
        "nobody got a message yet",
    )


def _letters(workflow: Workflow) -> SafeString | str:
    found = DeadLetter.objects.filter(workflow=workflow, status=DeadLetterStatus.OPEN).defer("body").order_by("pk")
    return display.table(
        ("Dead letter", "Error", "Since"),
        (
            (display.link(row), display.last_line(row.detail) or row.error, display.moment(row.created_at))
            for row in found[:MAX_LETTERS]
        ),
        "",
    )


def _acts(workflow: Workflow) -> SafeString | str:
    """What people did with the workflow itself, by whichever door; what they did with a message stands beside it."""
    found = OperatorAct.objects.filter(kind=Workflow._meta.model_name, key=str(workflow.pk))
    return display.table(
        ("When", "Who", "From", "What", "Why"),
        (
            (
                display.link_to(OperatorAct, act.pk, display.moment(act.at)),
                act.who,
                act.get_entrance_display(),
                _deed(act),
                act.reason,
            )
            for act in found.order_by("-pk")[:MAX_ACTS]
        ),
        "nothing yet",
    )


def _deed(act: OperatorAct) -> str:
    """What was done, and what else is to be known of it: a fork's id, a file's name, the message that was left out."""
    told = act.after if isinstance(act.after, dict) and act.before is None else {}
    return ", ".join(
        [act.action, *(f"{name.replace('_', ' ')} {visible(str(value))[:80]}" for name, value in told.items())]
    )


def _verify(messages: list[Message]) -> dict[Any, list[str]]:
    """Message → what is not as it was signed and stored."""
    ring = keys.verifying()
    full = Message.objects.in_bulk([message.pk for message in messages])
    return {key: verify_message(message, ring) for key, message in full.items()}


def _row(message: TimelineMessage, verified: dict[Any, list[str]] | None, *, may_operate: bool) -> dict[str, Any]:
    """One line of the list of messages."""
    problems = None if verified is None else verified.get(message.row.pk, ["it is gone"])
    hidden = len(message.deliveries) - MAX_SHOWN_DELIVERIES
    return {
        "message": message.row,
        "link": display.link(message.row, f"#{message.row.sequence}"),
        "at": display.moment(message.row.created_at),
        "preview": message.preview,
        "labels": "?" if message.labels is None else message.labels,
        "endorsements": [f"{act.kind} by {act.who}: {act.reason}" for act in message.endorsements],
        "key": message.key,
        "problems": problems,
        "deliveries": [
            _delivery(delivery, may_operate=may_operate) for delivery in message.deliveries[:MAX_SHOWN_DELIVERIES]
        ],
        "hidden": max(0, hidden),
    }


def _delivery(delivery: TimelineDelivery, *, may_operate: bool) -> dict[str, Any]:
    row = delivery.row
    open_letter = any(letter.status == DeadLetterStatus.OPEN for letter in delivery.dead_letters)
    can_skip = row.state in _SKIPPABLE and (row.state != DeliveryState.DEAD or open_letter) and not delivery.waits_for
    return {
        "row": row,
        "link": display.link(row, row.agent),
        "state": display.state(row.state),
        "notes": format_html_join(" ", "<span>{}</span>", ((note,) for note in _notes(delivery))),
        "error": display.last_line(row.last_error),
        "can_skip": may_operate and can_skip,
    }


def _notes(delivery: TimelineDelivery) -> list[SafeString | str]:
    row: Delivery = delivery.row
    notes: list[SafeString | str] = []
    if row.attempts > 1 or (row.attempts and row.state != DeliveryState.PROCESSED):
        notes.append(f"{row.attempts} attempts" if row.attempts > 1 else "1 attempt")
    if row.redeliveries:
        notes.append(f"published again {row.redeliveries} times" if row.redeliveries > 1 else "published again")
    if delivery.waits_for and row.state == DeliveryState.HELD:
        notes.append(f"position {row.position} waits for {delivery.waits_for}")
    elif row.state == DeliveryState.PENDING and row.attempts:
        notes.append(f"again at {display.moment(row.available_at)}")
    notes += [_of_verdict(verdict) for verdict in delivery.verdicts]
    for letter in delivery.dead_letters:
        by = f" by {letter.resolved_by}" if letter.resolved_by else ""
        notes.append(format_html("{} ({}{})", display.link(letter, "dead letter"), letter.status, by))
    return notes


def _of_verdict(verdict: Verdict) -> SafeString:
    by = f" by {verdict.resolved_by}" if verdict.resolved_by else ""
    state = "" if verdict.state == "settled" else f" ({verdict.state}{by})"
    return format_html(
        "verdict: {}{}", display.link(verdict, verdict.action + (f" by {verdict.rule}" if verdict.rule else "")), state
    )
