"""Counting what one transaction sends into mailboxes: in memory, where they were read under their workflow's lock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from uuid import UUID

from messaging import log

MailboxKey = tuple[UUID, str]
"""(workflow, agent)"""


class Mailboxes:
    """The mailboxes that a transaction knows; it holds the locks of all their workflows.

    Args:
        known: as they were read.
    """

    def __init__(self, known: Mapping[MailboxKey, log.MailboxRow] | None = None) -> None:
        self._known = dict(known or {})
        self._unsaved: Counter[int] = Counter()
        self._processed: Mapping[int, int] = {}

    def count(self, counts: log.MailboxCounts) -> dict[MailboxKey, log.MailboxRow]:
        """Count deliveries into mailboxes; return these as they are then.

        Where all are known, nothing is written yet: see ``take_unsaved``.

        Args:
            counts: see ``log.extend_mailboxes``.
        """
        if all(key in self._known and not processed for key, (_, processed) in counts.items()):
            for key, (added, _) in counts.items():
                row = self._known[key]
                self._known[key] = replace(row, sent=row.sent + added)
                self._unsaved[row.id] += added
        else:
            if self._unsaved:
                log.count_sent(self.take_unsaved())
            self._known |= log.extend_mailboxes(counts)
            self.advance(self._processed)  # the database does not know yet
        return {key: self._known[key] for key in counts}

    def advance(self, processed: Mapping[int, int]) -> None:
        """Note up to which position mailboxes are done, by their ids; somebody else writes it."""
        self._processed = processed
        for key, row in self._known.items():
            if processed.get(row.id, row.processed) != row.processed:
                self._known[key] = replace(row, processed=processed[row.id])

    def forget(self, workflows: Collection[UUID]) -> None:
        """Read those of some workflows anew: somebody else has counted. Nothing of theirs may be unsaved."""
        for key in [key for key in self._known if key[0] in workflows]:
            del self._known[key]

    def take_unsaved(self) -> dict[int, int]:
        """Mailbox id → how many more were sent, of what is not written yet. The caller writes it."""
        unsaved, self._unsaved = dict(self._unsaved), Counter()
        return unsaved
