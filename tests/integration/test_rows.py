"""Lists of rows as they are passed to either database."""

from __future__ import annotations

import pytest

from messaging.log import rows

pytestmark = pytest.mark.django_db

TEXTS = [
    "",
    "NULL",
    "plain",
    'a "quoted" one',
    "back\\slash",
    '\\"',
    "{a,b}",
    "a,b",
    " spaces ",
    "line\nbreak\ttab",
    "'; --",
    "é😀",
]


def test_every_text_comes_back_as_it_was() -> None:
    source = rows.table(("bigint", "text"), list(enumerate([*TEXTS, None])))
    found = rows.fetch(f"SELECT column1, column2 FROM {source.sql} ORDER BY column1", source.parameters)
    assert [text for _, text in found] == [*TEXTS, None]


def test_every_text_is_found_among_others() -> None:
    source = rows.table(("bigint", "text"), list(enumerate(TEXTS)))
    chosen = rows.among(TEXTS[1:], "text")
    sql = f"SELECT count(*) FROM {source.sql} WHERE column2 {chosen.sql}"
    assert rows.fetch(sql, [*source.parameters, *chosen.parameters]) == [(len(TEXTS) - 1,)]
