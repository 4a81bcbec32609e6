"""Texts that attackers send: a few of our own, and those of the public lists where these are there."""

from __future__ import annotations

import os

import pytest

from tests.support.corpora import find_corpus

WHOLE = os.environ.get("ATTACK_WHOLE") == "1"
"""Whether every payload of the public lists is used (``make attack``)."""

MARKUP = (
    '"><script>alert(1)</script>',
    "'\"><img src=x onerror=alert(1)>",
    "</textarea></pre></title></option><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "--><iframe srcdoc='<script>alert(1)</script>'>",
    "{% debug %}{{ settings.SECRET_KEY }}${7*7}",
)
STATEMENTS = (
    "' OR '1'='1",
    '" OR 1=1 --',
    "'; DROP TABLE nexus_message; --",
    "') UNION SELECT password FROM auth_user --",
    "1; SELECT pg_sleep(9)",
    "\\' OR 1=1 #",
    "%' AND 1=CAST((SELECT version()) AS int) --",
)


def listed(kind: str) -> list[str]:
    """The texts of the public lists; skips the test where they are not wanted or not there.

    Args:
        kind: "xss" or "sql".
    """
    if not WHOLE:
        pytest.skip("thousands of texts: make attack")
    lines: set[str] = set()
    for file in sorted((find_corpus("attack-payloads") / kind).iterdir()):
        lines.update(line.strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return sorted(line for line in lines if line)
