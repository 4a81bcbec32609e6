"""``/keys/``: the public keys that messages are signed with. They are public: no login is asked for."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from messaging.security.signatures.jwks import jwk_set


@cache_control(public=True, max_age=60)
@require_safe
def keys(request: HttpRequest) -> JsonResponse:
    """A JWK Set (RFC 7517)."""
    return JsonResponse(jwk_set(), content_type="application/jwk-set+json")
