"""Who calls: a token or a logged-in user, what they may do, and as whom they speak."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from messaging.extension import get_settings
from messaging.operating import SENDER, Actor, Entrance
from nexus_api.models import ApiToken, Visibility
from nexus_api.problems import ApiProblem
from nexus_api.scopes import OF_EVERYTHING, PERMISSIONS, Scope
from nexus_api.throttling import count_request
from nexus_api.tokens import find_token, valid_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request.

    Args:
        user: the logged-in user, or the token's owner.
        token: None for a user with a session.
    """

    user: Any
    token: ApiToken | None = None

    @property
    def identity(self) -> str:
        """Tells callers apart."""
        return f"token:{self.token.pk}" if self.token else f"user:{self.user.pk}"

    @property
    def name(self) -> str:
        """For operators: who did it."""
        who = str(self.user.get_username())
        return f"{who} (token {self.token.name})" if self.token else who

    @property
    def actor(self) -> Actor:
        """For the audit."""
        return Actor(self.name, Entrance.API)

    @property
    def sees_all(self) -> bool:
        """Whether no workflow is hidden from it."""
        return self.token is None or self.token.visibility == Visibility.ALL

    @property
    def rate(self) -> int:
        """Requests a minute."""
        return (self.token.rate if self.token else None) or get_settings().api_rate

    def check(self, scope: Scope) -> None:
        """Refuse what this caller may not do.

        Raises:
            ApiProblem: 403.
        """
        if self.token is not None and scope not in self.token.scopes:
            raise ApiProblem(403, "insufficient-scope", f"This token lacks the scope {scope}.")
        if scope in OF_EVERYTHING and not self.sees_all:
            raise ApiProblem(403, "insufficient-scope", f"{scope} is for callers who see every workflow.")
        missing = [permission for permission in PERMISSIONS[scope] if not self.user.has_perm(permission)]
        if missing:
            raise ApiProblem(
                403, "missing-permission", f"{self.user.get_username()} lacks the permission {', '.join(missing)}."
            )

    def may(self, scope: Scope) -> bool:
        """Whether ``check`` would let it."""
        try:
            self.check(scope)
        except ApiProblem:
            return False
        return True

    def sender(self, wanted: str | None) -> str:
        """The agent as whom this caller speaks.

        Args:
            wanted: an agent's name, or None for the caller's first.

        Raises:
            ApiProblem: 403, it may not speak as that one.
        """
        senders = (self.token.senders if self.token else None) or [SENDER]
        if wanted is None:
            return str(senders[0])
        if wanted not in senders:
            raise ApiProblem(403, "sender-not-allowed", f"You may speak as {', '.join(senders)}, nobody else.")
        return wanted

    def check_acts_for(self, agent: str) -> None:
        """Refuse to act for an agent that the token does not name among its senders.

        Raises:
            ApiProblem: 403.
        """
        if self.token is None or agent not in self.token.senders:
            raise ApiProblem(403, "sender-not-allowed", "Acting for an agent needs a token with it among its senders.")

    def still_holds(self) -> bool:
        """Whether the token was not revoked meanwhile, and has not expired; for answers that last."""
        return self.token is None or bool(valid_tokens(timezone.now()).filter(pk=self.token.pk).exists())


def caller_of(request: HttpRequest) -> Caller:
    """Who makes a request that was let in."""
    caller: Caller = request.auth  # type: ignore[attr-defined]  # ninja sets it
    return caller


class BearerToken(HttpBearer):
    """``Authorization: Bearer nxs_…``.

    Args:
        scope: that the caller needs.
    """

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Caller:
        """Let in, or say why not.

        Raises:
            ApiProblem: 401, 403 or 429.
        """
        found = find_token(token)
        if found is None:
            raise ApiProblem(
                401,
                "invalid-token",
                "This token does not hold: it is unknown, expired or revoked, or its owner may not log in.",
                headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
            )
        return _admit(Caller(user=found.owner, token=found), self._scope)


class SessionCookie(AuthBase):
    """Django's session; whatever changes something needs the CSRF token too.

    Args:
        scope: that the caller needs.
    """

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = settings.SESSION_COOKIE_NAME

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    def __call__(self, request: HttpRequest) -> Caller | None:
        """Let in, or leave it to others.

        Raises:
            ApiProblem: 403 or 429.
        """
        user = getattr(request, "user", None)
        if user is None or not user.is_authenticated:
            return None
        if check_csrf(request) is not None:
            raise ApiProblem(403, "csrf", "Send the CSRF token of the session in the header X-CSRFToken.")
        return _admit(Caller(user=user), self._scope)


def _admit(caller: Caller, scope: Scope) -> Caller:
    count_request(caller.identity, caller.rate)
    caller.check(scope)
    return caller
