"""``docs`` and ``openapi.json``: the description for people and for programs. The page needs no script."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from nexus_api.building import api


@require_safe
@cache_control(public=True, max_age=60)
def openapi(request: HttpRequest) -> JsonResponse:
    """The description, as OpenAPI 3.1 has it."""
    return JsonResponse(api.get_openapi_schema())


@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """The same as a page."""
    schema = api.get_openapi_schema()
    schemas = schema["components"]["schemas"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            tag = operation.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_shown(path, method, operation, schemas))
    return render(
        request,
        "nexus_api/docs.html",
        {
            "title": schema["info"]["title"],
            "description": schema["info"]["description"],
            "groups": groups,
            "shapes": {name: _text(shape) for name, shape in sorted(schemas.items())},
        },
    )


def _shown(path: str, method: str, operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "description": operation.get("description", "").replace("`", ""),
        "parameters": [
            {**parameter, "kind": _kind(parameter["schema"])} for parameter in operation.get("parameters", [])
        ],
        "body": body.get("$ref", "").rpartition("/")[2],
        "answers": [
            (status, answer["description"], _shape_of(answer)) for status, answer in operation["responses"].items()
        ],
    }


def _kind(schema: dict[str, Any]) -> str:
    choices = schema.get("enum") or [one for option in schema.get("anyOf", ()) for one in option.get("enum", ())]
    if choices:
        return " | ".join(map(str, choices))
    kinds = [option.get("format") or option.get("type", "") for option in schema.get("anyOf", (schema,))]
    return " | ".join(kind for kind in kinds if kind != "null")


def _shape_of(answer: dict[str, Any]) -> str:
    for content in answer.get("content", {}).values():
        return str(content["schema"].get("$ref", "")).rpartition("/")[2]
    return ""


def _text(shape: dict[str, Any]) -> str:
    return json.dumps(shape, indent=2)
