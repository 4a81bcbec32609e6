"""For schemathesis: requests about leases are made about a lease that holds, where their values are to be good ones.

What is registered at random is registered for another agent: one that accepts nothing would be given no lease.

Runs in the environment of schemathesis. FUZZ_URL is the agent's URL, FUZZ_OTHER the other agent's name, FUZZ_SECRET a
token that may act for both.
"""

from __future__ import annotations

import os
import re
from typing import Any

import requests
import schemathesis  # type: ignore[import-not-found]  # not in this environment

URL, OTHER, SECRET = os.environ["FUZZ_URL"], os.environ["FUZZ_OTHER"], os.environ["FUZZ_SECRET"]
HEADERS = {"Authorization": f"Bearer {SECRET}"}


def _lease() -> dict[str, Any] | None:
    answer = requests.post(f"{URL}/lease", json={"limit": 1}, headers=HEADERS, timeout=20)
    answer.raise_for_status()
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages[0] if messages else None


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Give a good completion as an example: it is tried with every seed, whatever chance makes up besides."""
    completion = raw_schema["components"]["schemas"]["CompletionIn"]
    completion["examples"] = [{"token": "00000000-0000-4000-8000-000000000000", "replies": [{"data": {"n": 1}}]}]


@schemathesis.hook  # type: ignore[untyped-decorator]
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Put a live lease into a request; what is bad on purpose stays bad."""
    about_lease = re.search(r"/(renew|complete|fail)$", case.operation.path)
    good = {place.value: part.mode.is_positive for place, part in case.meta.components.items()}
    if good.get("path", True) is False:
        return
    registers = case.operation.path.endswith("/{agent}")
    case.path_parameters["agent"] = OTHER if registers else URL.rsplit("/", 1)[1]
    leased = _lease() if about_lease else None
    if leased is None:
        return
    case.path_parameters["delivery"] = leased["delivery"]
    if good.get("body", True) and isinstance(case.body, dict):
        case.body["token"] = leased["token"]
        for sent in case.body.get("sends", []):
            sent["recipient"] = "auditor"
