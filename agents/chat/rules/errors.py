"""The errors of chats and teams.

NexusError
├── ConfigurationError
│   └── DefinitionError    a team's definition cannot work; names the file and the line
└── ChatError              something asked of a chat is impossible
    ├── UnknownChat
    ├── UnknownApproval
    ├── ApprovalClosed     it is answered, expired or withdrawn already
    └── ChatTimeout        the chat goes on, but waiting for it took too long
        └── ChatParked     it does not go on before an operator has dealt with a dead letter
"""

from __future__ import annotations

from messaging.api import ConfigurationError, NexusError


class DefinitionError(ConfigurationError):
    """A team's definition cannot work.

    Args:
        problem: what is wrong and what is expected.
        path: where in the definition, such as ``members[2].handoffs[0]``.
        source: the file's name, if it came from one.
        line: the line in it, from 1.
    """

    def __init__(self, problem: str, *, path: str = "", source: str = "", line: int | None = None) -> None:
        place = ", ".join(part for part in (source, f"line {line}" if line else "", path) if part)
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem, self.path, self.source, self.line = problem, path, source, line


class ChatError(NexusError):
    """Something that was asked of a chat is impossible."""


class UnknownChat(ChatError):
    """No chat has that id."""


class UnknownApproval(ChatError):
    """No approval has that id."""


class ApprovalClosed(ChatError):
    """The approval is answered, expired or withdrawn already; what was answered first holds."""


class ChatTimeout(ChatError):
    """The chat did not end within the time that the caller wanted to wait. It goes on."""


class ChatParked(ChatTimeout):
    """The chat is parked: a message of it is a dead letter, and nothing moves before an operator has dealt with it."""
