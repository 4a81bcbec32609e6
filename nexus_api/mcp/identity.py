"""As whom an MCP client acts: with an API token, or as an operator at the shell. There is no third way."""

from __future__ import annotations

import getpass
from dataclasses import dataclass
from typing import Any

from nexus_api.callers import Caller
from nexus_api.problems import ApiProblem
from nexus_api.scopes import Scope
from nexus_api.throttling import count_request
from nexus_api.tokens import find_token

OPERATOR = "operator"
"""The agent as whom an operator at the shell speaks, unless something else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShellOperator(Caller):
    """Whoever may run manage.py here, and may do everything with it anyway."""

    user: Any = None

    @property
    def identity(self) -> str:
        return "shell"

    @property
    def name(self) -> str:
        try:
            return f"{getpass.getuser()} (shell)"
        except (KeyError, OSError):  # a container's user without a name
            return "manage.py (shell)"

    def check(self, scope: Scope) -> None:
        """Nothing is refused."""

    def sender(self, wanted: str | None) -> str:
        return wanted or OPERATOR


def caller_with(secret: str) -> Caller:
    """Whoever has a token, if it holds now; counts the request.

    Raises:
        ApiProblem: the token does not hold, or was used too often.
    """
    token = find_token(secret)
    if token is None:
        raise ApiProblem(
            401,
            "invalid-token",
            "This token does not hold: it is unknown, expired or revoked, or its owner may not log in.",
        )
    caller = Caller(user=token.owner, token=token)
    count_request(caller.identity, caller.rate)
    return caller
