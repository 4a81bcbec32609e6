"""Whether the workers that are at work agree on signatures: what to look at before a stricter mode begins."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from messaging.models import SigningMode, WorkerStatus
from messaging.models.worker import SILENT_AFTER


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A worker that differs.

    Args:
        worker: host, process and thread.
        problem: how, and what to do.
        blocks: enforcing would refuse what it sends, or what it cannot verify would wait.
    """

    worker: str
    problem: str
    blocks: bool

    def __str__(self) -> str:
        return f"{self.worker}: {self.problem}"


def disagreements(wanted: SigningMode) -> list[Disagreement]:
    """Compare the consumers that gave a sign of life lately with a mode; what blocks comes first.

    Args:
        wanted: what all of them are to have.
    """
    alive = WorkerStatus.objects.filter(stopped_at=None, heartbeat_at__gt=timezone.now() - SILENT_AFTER)
    found = []
    for row in alive.order_by("host", "pid", "thread"):
        if not row.signing:
            found.append(Disagreement(str(row), "its version knows no signatures; upgrade and restart it", blocks=True))
        elif row.signing_problem:
            found.append(Disagreement(str(row), f"it is {row.signer!r}, and {row.signing_problem}", blocks=True))
        elif row.signing != wanted:
            text = f"it has NEXUS_SIGNING={row.signing}, not {wanted.value}; set it and restart it"
            found.append(Disagreement(str(row), text, blocks=row.signing == SigningMode.OFF))
    return sorted(found, key=lambda one: not one.blocks)
