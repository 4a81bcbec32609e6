"""Making, finding and revoking tokens."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from messaging.api import ConfigurationError
from messaging.extension import check_agent_name
from messaging.operating import check_text
from nexus_api.models import ApiToken, Visibility
from nexus_api.scopes import OF_EVERYTHING, Scope

PREFIX = "nxs_"
SECRET_BYTES = 32
MAX_LIFE = timedelta(days=3_650)
USE_NOTED_EVERY = timedelta(minutes=1)


def digest_of(secret: str) -> str:
    """What is stored of a secret. It has 256 random bits, so a quick digest is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_token(
    *,
    scopes: Sequence[str],
    senders: Sequence[str],
    visibility: str,
    team: str,
    rate: int | None,
    life: timedelta,
) -> None:
    """Refuse a token that would do nothing, or more than is meant.

    Raises:
        ConfigurationError: says what cannot be.
        EnvelopeError: a sender's name cannot be one.
    """
    unknown = sorted(set(scopes) - set(Scope))
    if unknown or not scopes:
        raise ConfigurationError(
            f"Scopes: {', '.join(unknown) or 'none'} cannot be. Choose some of {', '.join(Scope)}."
        )
    if visibility not in Visibility.values:
        raise ConfigurationError(f"Visibility {visibility!r} cannot be. Choose one of {', '.join(Visibility.values)}.")
    if (visibility == Visibility.TEAM) != bool(team):
        raise ConfigurationError("Give a team with the visibility team, and none otherwise.")
    if visibility != Visibility.ALL and OF_EVERYTHING.intersection(scopes):
        raise ConfigurationError(
            f"The scopes {', '.join(sorted(OF_EVERYTHING))} are for the visibility all: they concern every workflow."
        )
    if rate is not None and not 1 <= rate <= 1_000_000:
        raise ConfigurationError(f"A rate is from 1 to 1000000 requests a minute, not {rate}.")
    if not timedelta(0) < life <= MAX_LIFE:
        raise ConfigurationError(f"A token lives for up to {MAX_LIFE.days} days, and ends.")
    for sender in senders:
        check_agent_name(sender, "sender")


def create_token(
    *,
    name: str,
    owner: Any,
    scopes: Sequence[str],
    senders: Sequence[str] = (),
    visibility: str = Visibility.OWN,
    team: str = "",
    rate: int | None = None,
    life: timedelta = timedelta(days=90),
) -> tuple[ApiToken, str]:
    """Make a token.

    Args:
        name: what uses it; unique.
        owner: a user; the token can never do more than them, and ends with them.
        scopes: see ``Scope``.
        senders: agents that it may speak as; none for ``web`` alone.
        visibility, team: which workflows it sees.
        rate: requests a minute, or None for the settings' own.
        life: until it expires.

    Returns:
        The token, and its secret, which nobody can read again.

    Raises:
        ConfigurationError, EnvelopeError: see ``check_token``; or the name is taken.
    """
    check_text("name", name, 100)
    check_token(scopes=scopes, senders=senders, visibility=visibility, team=team, rate=rate, life=life)
    if ApiToken.objects.filter(name=name).exists():
        raise ConfigurationError(f"There is a token {name!r} already. Choose another name.")
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    token = ApiToken.objects.create(
        name=name,
        digest=digest_of(secret),
        owner=owner,
        scopes=sorted(set(scopes)),
        senders=list(senders),
        visibility=visibility,
        team=team,
        rate=rate,
        expires_at=timezone.now() + life,
    )
    return token, secret


def revoke_token(name: str) -> ApiToken:
    """Accept a token no more, from now on.

    Raises:
        ConfigurationError: there is none of that name.
    """
    token = ApiToken.objects.filter(name=name).first()
    if token is None:
        raise ConfigurationError(f"There is no token {name!r}. See manage.py nexus_tokens list.")
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    token.refresh_from_db()
    return token


def valid_tokens(now: datetime) -> Any:
    """Those that hold: neither expired nor revoked, of an owner who may log in."""
    return ApiToken.objects.filter(revoked_at=None, expires_at__gt=now, owner__is_active=True)


def find_token(secret: str) -> ApiToken | None:
    """The token that a secret proves, if it holds; its use is noted to the minute."""
    now = timezone.now()
    if not secret.startswith(PREFIX) or not secret.isascii() or len(secret) > 100:
        return None
    token: ApiToken | None = valid_tokens(now).select_related("owner").filter(digest=digest_of(secret)).first()
    if token is not None:
        old = Q(last_used_at=None) | Q(last_used_at__lt=now - USE_NOTED_EVERY)
        if token.last_used_at is None or token.last_used_at < now - USE_NOTED_EVERY:
            ApiToken.objects.filter(old, pk=token.pk).update(last_used_at=now)
    return token
