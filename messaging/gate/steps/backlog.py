"""backlog: whether a mailbox may hold more. It stands behind numbering, which counts the messages into mailboxes."""

from __future__ import annotations

from collections.abc import Iterable

from messaging.conf import get_settings
from messaging.core.errors import MailboxFull
from messaging.gate.draft import Backlog


def check_backlog(mailboxes: Iterable[Backlog]) -> None:
    """Refuse what would make a mailbox longer than it may be.

    Raises:
        MailboxFull: names the agent and the workflow.
    """
    limit = get_settings().max_backlog_per_mailbox
    for mailbox in mailboxes:
        if mailbox.unhandled > limit:
            raise MailboxFull(
                f"Agent {mailbox.agent!r} has more than {limit} unhandled messages in workflow {mailbox.workflow_id}. "
                "Wait until it catches up, add workers, or raise NEXUS_MAX_BACKLOG_PER_MAILBOX."
            )
