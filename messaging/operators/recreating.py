"""A workflow as a test: a Python file that sends the same messages and says who got which (see docs/testing.md)."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pprint import pformat
from typing import Any
from uuid import UUID

from messaging.core.envelope import Envelope
from messaging.core.errors import EnvelopeError, ExportRefused
from messaging.core.ids import MAX_DELIVERIES
from messaging.models import Agent, AgentGroup, Delivery, DeliveryState, Message, Workflow
from messaging.operators.exporting import CHUNK, messages_in_parts
from messaging.operators.timeline import read_deliveries
from messaging.security.labels.tracing import parse_stored

MAX_MESSAGES = 2_000
WIDTH = 100

_TEMPLATE = '''"""Recreated from the workflow {workflow} by Nexus: what came from outside is sent again.

Agents that call out (models, tools, HTTP) should be stood in for: messaging.testing.stand_in.
"""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from messaging.api import ReliableCommunicationBus
from messaging.testing import DrainReport, Handling, drain

# (sender, recipient, type, data, labels) of each message that no agent of the workflow sent, in order.
# None: here everything that was pending had been handled.
SENT = {sent}

# Agent → (sender, type) of what it handled → how often.
HANDLED = {handled}

# Agent → (sender, type) of what became a dead letter → how often.
DEAD = {dead}


def test_workflow_{short}(db: None) -> None:
    bus = ReliableCommunicationBus()
{setup}    workflow = bus.start_workflow({name})
    reports: list[DrainReport] = []
    for message in (*SENT, None):
        if message is None:
            reports.append(drain(allow_dead_letters={allow}, limit={limit}))
            continue
        sender, recipient, type, data, labels = message
        bus.send(workflow, recipient, type, data, sender=sender, labels=labels)
    assert count(workflow, [handling for report in reports for handling in report.processed]) == HANDLED
    assert count(workflow, [handling for report in reports for handling in report.dead_letters]) == DEAD


def count(workflow: UUID, handlings: list[Handling]) -> dict[str, dict[tuple[str, str], int]]:
    """Agent → (sender, type) → how often, in this workflow."""
    counted: dict[str, Counter[tuple[str, str]]] = {{}}
    for handling in handlings:
        message = handling.message
        if message.workflow_id != workflow:
            continue
        counted.setdefault(handling.agent, Counter())[message.source, message.type] += 1
    return {{agent: dict(found) for agent, found in counted.items()}}
'''

_Counts = dict[str, Counter[tuple[str, str]]]


@dataclass(slots=True)
class _Story:
    """What the log says, as far as a test needs it."""

    ids: set[UUID] = field(default_factory=set)
    sent: list[tuple[str, str, str, Any, str | None] | None] = field(default_factory=list)
    handled: _Counts = field(default_factory=lambda: defaultdict(Counter))
    dead: _Counts = field(default_factory=lambda: defaultdict(Counter))
    senders: set[str] = field(default_factory=set)
    recipients: set[str] = field(default_factory=set)
    groups: dict[str, list[str]] = field(default_factory=dict)
    answered: bool = False


def export_test(workflow: Workflow) -> str:
    """The Python file.

    Args:
        workflow: of at most ``MAX_MESSAGES`` messages.

    Raises:
        ExportRefused: it has more, its first ones are gone, or one cannot be read.
    """
    if workflow.sequence > MAX_MESSAGES:
        raise ExportRefused(
            f"Workflow {workflow.pk} has {workflow.sequence} messages; a test is made of at most {MAX_MESSAGES}. "
            "Fork it after an earlier message and export the fork, or export it as JSON."
        )
    story = _read(workflow)
    setup = _setup(story)
    return _TEMPLATE.format(
        workflow=workflow.pk,
        short=workflow.short_id,
        name=repr(workflow.name),
        sent=_literal(story.sent),
        handled=_literal(_plain(story.handled)),
        dead=_literal(_plain(story.dead)),
        setup="".join(f"    {line}\n" for line in setup),
        allow=bool(story.dead),
        limit=10 * max(100, workflow.sequence),
    )


def _read(workflow: Workflow) -> _Story:
    story = _Story()
    expected = 1
    for some in messages_in_parts(Message.objects.filter(workflow=workflow)):
        deliveries: dict[UUID, list[Delivery]] = defaultdict(list)
        for row in read_deliveries([message.pk for message in some], limit=CHUNK * MAX_DELIVERIES):
            deliveries[row.message_id].append(row)
        for message in some:
            if message.sequence != expected:
                raise ExportRefused(f"Workflow {workflow.pk} has no message #{expected} any more: it is not whole.")
            expected += 1
            try:
                envelope = parse_stored(bytes(message.envelope))
            except EnvelopeError as error:
                raise ExportRefused(f"Message #{message.sequence} ({message.pk}) cannot be read: {error}") from error
            if envelope.is_encrypted:
                raise ExportRefused(
                    f"The data of message #{message.sequence} ({message.pk}) are encrypted, and a test would have them "
                    "in clear. Export the workflow as JSON."
                )
            _tell(story, envelope, deliveries[message.pk])
    return story


def _tell(story: _Story, envelope: Envelope, deliveries: list[Delivery]) -> None:
    story.ids.add(envelope.message_id)
    if envelope.causationid in story.ids:
        story.answered = True
    else:
        if story.answered:
            story.sent.append(None)
            story.answered = False
        story.sent.append((envelope.source, envelope.subject, envelope.type, envelope.data, envelope.labels))
        story.senders.add(envelope.source)
    if envelope.position is None:
        story.groups.setdefault(envelope.subject, [])
        story.groups[envelope.subject] += [
            row.agent for row in deliveries if row.agent not in story.groups[envelope.subject]
        ]
    for row in deliveries:
        story.recipients.add(row.agent)
        counted = story.dead if row.state == DeliveryState.DEAD else story.handled
        if row.state in (DeliveryState.DEAD, DeliveryState.PROCESSED):
            counted[row.agent][envelope.source, envelope.type] += 1


def _setup(story: _Story) -> list[str]:
    """What the test needs before it sends: programs without handlers, which handle nothing, and groups."""
    names = story.senders | story.recipients
    programs = set(Agent.objects.filter(name__in=names, kind__isnull=True).values_list("name", flat=True))
    lines = [f"bus.register_agent({name!r})" for name in sorted(programs)]
    for name in programs:
        story.handled.pop(name, None)
    groups = AgentGroup.objects.filter(name__in=list(story.groups)).values_list("name", flat=True)
    return [*lines, *(f"bus.create_group({name!r}, {story.groups[name]!r})" for name in sorted(groups))]


def _plain(counts: _Counts) -> dict[str, dict[tuple[str, str], int]]:
    return {agent: dict(found) for agent, found in sorted(counts.items())}


def _literal(value: Any) -> str:
    return pformat(value, width=WIDTH, sort_dicts=False)
