"""Attacks on every page of the admin: by text that operators look at, and by an account with a search box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import models, transaction
from django.test import Client
from django.urls import reverse
from pytest_django.fixtures import Settings

from tests.attack import payloads
from tests.attack.filling import fill_all, shown_models
from tests.support.operators import page, superuser

HARMLESS = "harmless\n\ntext of\nlines"
JSON = "application/json"
URLS = ("href", "src", "action", "formaction", "data")


class Shape(HTMLParser):
    """Which tags a page has, with the names of their attributes; text cannot change it unless it became markup."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[tuple[str, tuple[str, ...]]] = set()
        self.schemes: set[str] = set()
        self.inline = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.add((tag, tuple(sorted(name for name, _ in attributes))))
        given = dict(attributes)
        self.inline |= tag == "style" or (
            tag == "script" and not given.get("src") and "json" not in str(given.get("type"))
        )
        for name, value in attributes:
            scheme = (value or "").strip().partition(":")[0].lower()
            self.inline |= name == "style" or name.startswith("on")
            if name in URLS and scheme in ("javascript", "data", "vbscript"):
                self.schemes.add(scheme)


@pytest.fixture
def client(transactional_db: None) -> Client:
    return superuser()


def visit(client: Client, rows: Sequence[models.Model], text: str) -> Iterator[tuple[str, str, Any]]:
    """(name, URL, answer) of every page of rows whose texts are this text."""
    for row in rows:
        model = type(row)
        for name, url in (
            ("list", page(model)),
            ("search", f"{page(model)}?{urlencode({'q': text[:3]})}"),
            ("change", page(model, "change", quote(row.pk))),
            ("history", page(model, "history", quote(row.pk))),
            ("delete", page(model, "delete", quote(row.pk))),
        ):
            response = client.get(url)
            assert response.status_code in (200, 403), url
            assert "unsafe" not in response["Content-Security-Policy"]
            yield f"{model.__name__} {name}", url, response
    for url in (reverse("admin:index"), "/start/"):
        yield url, url, client.get(url)


def crawl(client: Client, text: str) -> Iterator[tuple[str, str]]:
    """Every page of every object whose texts are this text. Nothing of it stays."""
    with transaction.atomic():
        for name, _, response in visit(client, fill_all(text), text):
            yield name, response.content.decode()
        transaction.set_rollback(True)


def act(client: Client, row: models.Model) -> Iterator[tuple[str, str]]:
    """What each action says of a row: the page that has it confirmed, or the list with its messages."""
    model = type(row)
    for name in admin.site._registry[model].actions or ():
        if not isinstance(name, str):
            continue
        for confirmed in ({}, {"confirmed": "1", "reason": "because"}):
            sent = {"action": name, "index": "0", "_selected_action": str(row.pk), **confirmed}
            with suppress(msgspec.DecodeError), transaction.atomic():  # the row of a saga is no saga
                response = client.post(page(model), sent, follow=True)
                transaction.set_rollback(True)
                yield from _looked_at(model, name, bool(confirmed), response)


def _looked_at(model: type[models.Model], action: str, confirmed: bool, response: Any) -> Iterator[tuple[str, str]]:
    assert response.status_code in (200, 403), (model, action)
    assert "unsafe" not in response["Content-Security-Policy"]
    yield f"{model.__name__} {action} {'confirmed' if confirmed else 'asked'}", response.content.decode()


def shapes(client: Client, text: str) -> dict[str, Shape]:
    return {name: Shape(html) for name, html in crawl(client, text)}


def chunks(texts: Sequence[str], size: int = 100) -> Iterator[str]:
    """Texts one a line. A field that is short gets the first: each round begins with another."""
    for start in range(0, len(texts), size):
        yield "\n".join(texts[start : start + size])


def assert_no_markup(client: Client, texts: Sequence[str]) -> None:
    expected = shapes(client, HARMLESS)
    assert len(expected) > 100
    assert not [name for name, shape in expected.items() if shape.inline], "the policy refuses it"
    for text in chunks(texts):
        for name, shape in shapes(client, text).items():
            # What a search finds depends on the text, so its page may also look as the list does.
            assert shape.tags <= expected[name].tags | expected[name.replace(" search", " list")].tags, name
            assert not shape.schemes, name


@pytest.mark.whole
def test_no_text_becomes_markup_on_any_page(client: Client) -> None:
    assert_no_markup(client, payloads.MARKUP)


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_no_text_becomes_markup_when_something_is_done(client: Client) -> None:
    """The pages that ask for a confirmation, and the messages of what was done."""

    def acted(text: str) -> dict[str, Shape]:
        with transaction.atomic():
            found = {name: Shape(html) for row in fill_all(text) for name, html in act(client, row)}
            transaction.set_rollback(True)
        return found

    expected = acted(HARMLESS)
    assert len(expected) > 10
    for name, shape in acted("\n".join(payloads.MARKUP[:100])).items():
        assert shape.tags <= expected[name].tags, name
        assert not shape.schemes, name


@pytest.mark.timeout(500)
def test_no_text_of_the_lists_becomes_markup(client: Client) -> None:
    assert_no_markup(client, payloads.listed("xss"))


def assert_nothing_found(client: Client, model: type[models.Model], texts: Iterable[str]) -> None:
    for text in texts:
        response = client.get(page(model), {"q": text})
        assert response.status_code == 200, (model, text)
        if "cl" in response.context:
            assert response.context["cl"].result_count == 0, (model, text)


@pytest.mark.whole
def test_no_search_box_takes_sql(client: Client) -> None:
    with transaction.atomic():
        fill_all(HARMLESS)
        for model in shown_models():
            if searchable(model):
                assert_nothing_found(client, model, payloads.STATEMENTS)
            for name in ("state", "status__exact", "since", "o", "p", "agent", "e"):
                assert client.get(page(model), {name: payloads.STATEMENTS[0]}).status_code in (200, 302), (model, name)
            url = page(model, "change", quote(payloads.STATEMENTS[0]))
            assert client.get(url).status_code in (302, 404), url
        transaction.set_rollback(True)


@pytest.mark.timeout(500)
def test_no_search_box_takes_sql_of_the_lists(client: Client) -> None:
    """The texts are shared out among the boxes."""
    # One quote alone is an empty search, which shows everything.
    texts = [text for text in payloads.listed("sql") if set(text) & set("'\"(") and any(map(str.isalnum, text))]
    with transaction.atomic():
        fill_all(HARMLESS)
        searched = [model for model in shown_models() if searchable(model)]
        assert len(searched) > 10
        for number, model in enumerate(searched):
            assert_nothing_found(client, model, texts[number :: len(searched)])
        transaction.set_rollback(True)


def searchable(model: type[models.Model]) -> bool:
    """Whether a model's list has a search box."""
    options = admin.site._registry[model]
    return bool(options.search_fields) or type(options).get_search_fields is not admin.ModelAdmin.get_search_fields


@pytest.mark.django_db(transaction=True)
def test_passwords_cannot_be_guessed(settings: Settings) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    User.objects.create_superuser("operator", password="right")
    client, url = Client(), reverse("admin:login")

    def log_in(password: str, user: str = "operator") -> int:
        return int(client.post(url, {"username": user, "password": password}).status_code)

    assert [log_in(f"wrong {number}") for number in range(3)] == [200, 200, 429]
    assert log_in("right") == 429
    assert log_in("wrong", user="somebody-else") == 200


@pytest.mark.django_db
def test_answers_carry_headers_and_cookies_that_protect() -> None:
    answer = Client().get(reverse("admin:login"))
    wanted = {
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    assert {name: answer[name] for name in wanted} == wanted
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.cookies["csrftoken"]["httponly"]
    assert answer.cookies["csrftoken"]["samesite"] == "Lax"
