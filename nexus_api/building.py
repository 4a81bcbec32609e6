"""The API, put together of its endpoints, and its description (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from ninja import NinjaAPI
from ninja.parser import Parser

from messaging.operating import loads
from nexus_api import problems
from nexus_api.endpoints import agents, approvals, dead_letters, external_agents, health, messages, workflows

DESCRIPTION = (
    "Send messages to agents and operate them. What is sent is stored before the answer, and handled once, in order. "
    "Every error is application/problem+json (RFC 9457)."
)
EVENT = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The message's sequence."},
        "event": {"enum": ["message", "end"]},
        "data": {"type": "string", "description": "JSON: a MessageOut; of the end the workflow's status."},
    },
    "required": ["id", "event", "data"],
}


class _StrictParser(Parser):
    """Takes JSON that every reader understands alike: no duplicate keys, no NaN."""

    def parse_body(self, request: HttpRequest) -> Any:
        return loads(request.body)


class _DescribedAPI(NinjaAPI):
    """Describes answers as they are: ninja takes all of them for application/json."""

    def get_root_path(self, path_params: Any) -> str:
        return reverse("nexus-api-unknown")

    def get_openapi_schema(self, **options: Any) -> Any:
        schema = super().get_openapi_schema(**options)
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                _describe(path, operation)
        return schema


def _describe(path: str, operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        answer["headers"] = {"X-Request-Id": {"schema": {"type": "string"}}}
        if int(status) >= 400:
            answer["content"] = {problems.CONTENT_TYPE: answer["content"]["application/json"]}
        elif path.endswith("/events") and int(status) == 200:
            answer["content"] = {"text/event-stream": {"schema": EVENT}}
        if int(status) in (429, 503):
            answer["headers"]["Retry-After"] = {"schema": {"type": "string"}, "required": True}


def build() -> NinjaAPI:
    """The API with all endpoints."""
    api = _DescribedAPI(
        title="Nexus",
        version="1",
        description=DESCRIPTION,
        urls_namespace="nexus_api",
        docs_url=None,
        openapi_url=None,
        parser=_StrictParser(),
    )
    problems.install(api)
    api.add_router("/workflows", workflows.router)
    api.add_router("", messages.router)
    api.add_router("/approvals", approvals.router)
    api.add_router("/dead-letters", dead_letters.router)
    api.add_router("/agents", agents.router)
    api.add_router("/external-agents", external_agents.router)
    api.add_router("/health", health.router)
    return api


api = build()
