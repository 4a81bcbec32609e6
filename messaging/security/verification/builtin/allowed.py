"""allowed-urls, allowed-tools: what a message may lead to."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from messaging.security.content.matching import compile_regex
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

_URL = compile_regex(
    r"(?i)\b[a-z][a-z0-9+.-]{1,20}:(?://|\\\\)[^\s<>\"'`)\]}]+|(?i)\b(?:javascript|data|vbscript):[^\s\"']+"
)
MAX_URLS = 1_000


def host_of(url: str) -> str:
    """The host that a browser would go to; empty where there is none to trust."""
    try:
        parts = urlsplit(url.replace("\\", "/"))
        host = (parts.hostname or "").rstrip(".").encode("idna").decode()
    except (UnicodeError, ValueError):
        return ""
    return host if "@" not in parts.netloc else ""  # what stands before an @ only poses as a host


def _is_inside(host: str, allowed: str) -> bool:
    return host == allowed or (allowed.startswith("*.") and host.endswith(allowed[1:]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.replace(".", "").isdigit() or host.startswith("0x")
    return True


@verification_rule(
    "allowed-urls",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {
            "hosts": {"type": "array", "items": {"type": "string", "pattern": r"^(\*\.)?[a-z0-9.-]+$"}},
            "schemes": {"type": "array", "items": {"type": "string"}},
        },
        "additionalProperties": False,
    },
    defaults={"hosts": [], "schemes": ["https"]},
)
def allowed_urls(subject: VerificationSubject, settings: Mapping[str, Any]) -> Objection | None:
    """URLs of other hosts or schemes than the settings name (``*.example.com`` is every host below example.com)."""
    for pointer, text in subject.texts:
        for number, match in enumerate(_URL.finditer(text.encode("utf-8", "replace").decode())):
            url = match.group()
            scheme = url.partition(":")[0].lower()
            if number >= MAX_URLS:
                return Objection(VerdictAction.FLAG, f"more than {MAX_URLS} URLs", pointer, kind="url")
            if scheme not in settings["schemes"]:
                return Objection(VerdictAction.FLAG, "a URL of a scheme that is not allowed", pointer, kind="url")
            host = host_of(url)
            if not any(
                _is_inside(host, allowed) for allowed in settings["hosts"] if not _is_address(host) or host == allowed
            ):
                return Objection(VerdictAction.FLAG, "a URL of a host that is not allowed", pointer, kind="url")
    return None


@verification_rule(
    "allowed-tools",
    version=1,
    may=[VerdictAction.REJECT],
    schema={
        "type": "object",
        "properties": {
            "tools": {"type": "array", "items": {"type": "string"}},
            "fields": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        },
        "additionalProperties": False,
    },
    defaults={"tools": [], "fields": ["tool", "tool_name", "function"]},
)
def allowed_tools(subject: VerificationSubject, settings: Mapping[str, Any]) -> Objection | None:
    """Calls of other tools than the settings name, in the fields that carry a tool's name, and in ``tool_calls``."""
    for pointer, name in _tools(subject.data, "", frozenset(settings["fields"])):
        if name not in settings["tools"]:
            return Objection(VerdictAction.REJECT, "calls a tool that is not allowed", pointer, kind="tool")
    return None


def _tools(value: Any, pointer: str, fields: frozenset[str], *, called: bool = False) -> Iterator[tuple[str, str]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _tools(item, f"{pointer}/{number}", fields, called=called)
    elif isinstance(value, dict):
        for key, item in value.items():
            below = f"{pointer}/{str(key).replace('~', '~0').replace('/', '~1')}"
            if isinstance(item, str) and (key in fields or (called and key == "name")):
                yield below, item
            elif isinstance(item, dict | list):
                yield from _tools(item, below, fields, called=key == "tool_calls" or key in fields)
