"""How DATABASE_URL's options and a pooler are honoured, or refused with words."""

from __future__ import annotations

from typing import Any

import pytest

from messaging.core.database_options import configure_postgres, read_options
from messaging.core.errors import ConfigurationError


def configured(options: str = "", pooling: str = "none") -> dict[str, Any]:
    database: dict[str, Any] = {"OPTIONS": {"options": options} if options else {}}
    configure_postgres(database, pooling)
    return database


def test_the_options_of_the_url_count_more_than_ours() -> None:
    given = configured("-c search_path=app -c statement_timeout=5000")["OPTIONS"]["options"]
    assert given.endswith("-c search_path=app -c statement_timeout=5000")
    assert "-c jit=off" in given


@pytest.mark.parametrize("pooling", ["session", "transaction"])
def test_a_pooler_gets_no_startup_parameters(pooling: str) -> None:
    database = configured(pooling=pooling)
    assert "options" not in database["OPTIONS"]
    assert database["NEXUS_SESSION_SETTINGS"]["statement_timeout"] == "60000"
    assert database.get("DISABLE_SERVER_SIDE_CURSORS", False) is (pooling == "transaction")


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("-c a=1", {"a": "1"}),
        ("-ca=1 --b-c=2", {"a": "1", "b_c": "2"}),
        ("-c search_path=a,b -c x=y=z", {"search_path": "a,b", "x": "y=z"}),
        (r"-c name=two\ words", {"name": "two words"}),
    ],
)
def test_options_as_libpq_writes_them(text: str, settings: dict[str, str]) -> None:
    assert read_options(text) == settings


@pytest.mark.parametrize("text", ["search_path=a", "-c", "-c novalue", "-x 1", "-B 5"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="-c name=value"):
        read_options(text)


def test_what_cannot_be_honoured_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ALTER ROLE"):
        configured("-c search_path=app", "transaction")
    with pytest.raises(ConfigurationError, match="DATABASE_POOLING"):
        configured(pooling="statement")
