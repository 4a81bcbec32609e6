"""Callers of the HTTP API for tests."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client

from nexus_api.models import ApiToken
from nexus_api.scopes import OF_EVERYTHING, Scope
from nexus_api.tokens import create_token


class ApiCaller:
    """A program with a token of its own, whose owner may do everything.

    Args:
        name: of the token.
        scopes: all that its visibility allows by default.
        options: see ``create_token``.
    """

    def __init__(self, name: str = "program", scopes: list[str] | None = None, **options: Any) -> None:
        cache.clear()
        owner, _ = User.objects.get_or_create(username="root", defaults={"is_superuser": True, "is_staff": True})
        visibility = options.setdefault("visibility", "all")
        allowed = [scope for scope in Scope if visibility == "all" or scope not in OF_EVERYTHING]
        self.token: ApiToken
        self.token, self.secret = create_token(name=name, owner=owner, scopes=scopes or allowed, **options)
        self.client = Client(raise_request_exception=False)

    def get(self, path: str, **headers: str) -> Any:
        """GET below ``/api``; headers with underscores for hyphens."""
        return self.client.get(f"/api{path}", headers=self._headers(headers))

    def post(self, path: str, body: object = None, **headers: str) -> Any:
        """POST JSON, or bytes as they are, or nothing."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        return self.client.post(
            f"/api{path}", data=data, content_type="application/json", headers=self._headers(headers)
        )

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self.secret}",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }


def close(response: Any) -> None:
    """End a stream as a server does, but for the database's connection, which the test goes on using."""
    request_finished.disconnect(close_old_connections)
    try:
        response.close()
    finally:
        request_finished.connect(close_old_connections)


def problem(response: Any, status: int, code: str) -> str:
    """Check that a response is that problem; return its detail."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["type"], body["status"]) == (f"urn:nexus:problem:{code}", status)
    assert body["request_id"] == response["X-Request-Id"]
    return str(body["detail"])
