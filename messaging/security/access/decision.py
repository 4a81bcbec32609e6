"""What is asked, and what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from messaging.security.access.policy import Effect, Grant


class AccessRequest(NamedTuple):
    """May this sender send this to this agent?

    Args:
        sender: the agent that sends.
        recipient: the agent that is to get it; one request for each member of a group.
        type: of the message.
        at: the moment that time windows are compared with.
        group: the group that the message is addressed to, if it is.
        workflow: that it belongs to.
        counted: whether a grant with ``uses`` is used up by it. False where the message was counted when it was sent.
    """

    sender: str
    recipient: str
    type: str
    at: datetime
    group: str = ""
    workflow: UUID | None = None
    counted: bool = True

    def __str__(self) -> str:
        group = f" (in group {self.group})" if self.group else ""
        return f"{self.sender} → {self.recipient}{group}: {self.type}"


@dataclass(frozen=True, slots=True)
class Missing:
    """The grant that comes nearest to allowing a request.

    Args:
        grant: it; None when no grant allows anything.
        unmet: what of it does not hold, in words.
    """

    grant: Grant | None
    unmet: tuple[str, ...]

    def __str__(self) -> str:
        if self.grant is None:
            return "no grant allows anything"
        return f"the nearest is {self.grant.name!r}, but {' and '.join(self.unmet)}"


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """The answer.

    Args:
        allowed: whether it may be sent.
        grant: the decisive one; None when a default decided.
        default: the decisive default, such as ``"across_teams"``; empty when a grant decided.
        sender_path, recipient_path: the way to the role that the decisive grant names; empty where it names none.
        missing: of a refusal by default, the nearest grant that is missing.
    """

    allowed: bool
    grant: Grant | None = None
    default: str = ""
    sender_path: tuple[str, ...] = ()
    recipient_path: tuple[str, ...] = ()
    missing: Missing | None = None

    @property
    def effect(self) -> Effect:
        return Effect.ALLOW if self.allowed else Effect.DENY

    def __str__(self) -> str:
        done = "allowed" if self.allowed else "refused"
        if self.grant is None:
            words = f"{done} by the default {self.default!r}"
            return f"{words}; {self.missing}" if self.missing else words
        paths = [" → ".join(path) for path in (self.sender_path, self.recipient_path) if path]
        return f"{done} by the grant {self.grant.name!r}" + (f" ({'; '.join(paths)})" if paths else "")
