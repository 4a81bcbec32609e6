"""Asks for each list, filter, search and page of the admin in one process, and prints a table of the slowest first."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import django

django.setup()  # what is imported below needs it

from django.contrib import admin  # noqa: E402
from django.contrib.admin.utils import quote  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext, setup_test_environment  # noqa: E402
from django.urls import reverse  # noqa: E402

from messaging.models import Workflow  # noqa: E402

LABELS = ("nexus", "nexus_agents", "nexus_api")
MAX_CHOICES = 8
"""Of one filter."""
SHOWN = 30
SLOW_DATABASE = 50.0
"""Milliseconds in the database from which on a page is named."""
GIVE_UP = 5.0
"""Seconds after which a page is not asked for again."""


def say(text: str) -> None:
    """What belongs beside the table."""
    print(text, file=sys.stderr, flush=True)


def asked(client: Client) -> Iterator[tuple[str, str, str]]:
    """(kind, name, URL) of everything."""
    index = reverse("admin:index")
    for span in ("hour", "day", "week"):
        yield "dashboard", f"dashboard, past {span}", f"{index}?span={span}"
    for name in ("groups", "bulk"):
        yield "dead letters by cause", f"dead letters: {name}", reverse(f"admin:nexus_deadletter_{name}")
    for model, options in admin.site._registry.items():
        if model._meta.app_label in LABELS:
            yield from _of_model(client, model, options)


def _of_model(client: Client, model: type[models.Model], options: Any) -> Iterator[tuple[str, str, str]]:
    name = str(model._meta.verbose_name_plural)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    yield "list", f"{name}: list", url
    first = client.get(url)
    if first.status_code != 200 or "cl" not in first.context:
        return
    changes = first.context["cl"]
    for spec in changes.filter_specs:
        for choice in list(spec.choices(changes))[:MAX_CHOICES]:
            query = str(choice.get("query_string", ""))
            yield "filter", f"{name}: {spec.title} {choice['display']}", url + query
    pages = changes.paginator.num_pages
    if pages > 1:
        yield "further page", f"{name}: page 2", f"{url}?p=2"
        yield "further page", f"{name}: last page", f"{url}?p={pages}"
    row = model._default_manager.order_by().first()
    if row is None:
        return
    if options.get_search_fields(None):
        yield "search", f"{name}: search an id", f"{url}?q={row.pk}"
        yield "search", f"{name}: search a word", f"{url}?q=ping"
        yield "search", f"{name}: search what is not there", f"{url}?q=nobody-is-called-so"
    yield (
        "row's page",
        f"{name}: a page",
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)]),
    )
    if model is Workflow:
        yield "row's page", f"{name}: a page, from its beginning", f"{url}{quote(row.pk)}/change/?first=1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTimes:
    """What a page took, in milliseconds.

    Args:
        name: of the page.
        kind: of page: a list, one filtered, …
        median, slowest: on the clock, 50 and 95 of 100 are faster.
        processor: of this process, the median; what the database takes is not in it.
        database: the statements of one request together.
        statement: the slowest of them, or what was wrong.
    """

    name: str
    kind: str
    median: float = 0.0
    slowest: float = 0.0
    processor: float = 0.0
    database: float = 0.0
    statement: str = ""


def measure(client: Client, kind: str, name: str, url: str, times: int) -> PageTimes:
    """Ask for a page once to warm up, then so many times."""
    client.get(url)
    with CaptureQueriesContext(connection) as queries:
        status = client.get(url).status_code
    if status != 200:
        return PageTimes(name=name, kind=kind, statement=f"status {status}")
    spent = sorted((float(query["time"]), query["sql"]) for query in queries.captured_queries)
    took, used = [], []
    for _ in range(times):
        began, began_processor = time.perf_counter(), time.process_time()
        client.get(url)
        took.append((time.perf_counter() - began) * 1_000)
        used.append((time.process_time() - began_processor) * 1_000)
        if took[-1] > GIVE_UP * 1_000:
            break
    took.sort()
    return PageTimes(
        name=name,
        kind=kind,
        median=took[len(took) // 2],
        slowest=took[min(len(took) - 1, int(len(took) * 0.95))],
        processor=sorted(used)[len(used) // 2],
        database=sum(seconds for seconds, _ in spent) * 1_000,
        statement=f"{spent[-1][0] * 1_000:.0f} ms: {spent[-1][1]}" if spent else "",
    )


def _summary(kind: str, pages: list[PageTimes], target: float) -> str:
    cells = (
        f"{statistics.median(page.median for page in pages):.0f}",
        f"{statistics.median(page.slowest for page in pages):.0f}",
        f"{max(page.slowest for page in pages):.0f}",
        f"{max(page.processor for page in pages):.0f}",
        str(sum(page.slowest > target for page in pages)),
    )
    return f"| {kind} | {len(pages)} | {' | '.join(cells)} |"


def main(times: int, target: float) -> None:
    """Print the table."""
    setup_test_environment()  # without it a page does not tell its context
    client = Client()
    user, _ = User.objects.get_or_create(username="bench", is_staff=True, is_superuser=True)
    client.force_login(user)
    found = []
    for kind, name, url in asked(client):
        page = measure(client, kind, name, url, times)
        found.append(page)
        if page.slowest > target or page.database > SLOW_DATABASE or not page.slowest:
            say(f"{name} ({url}): {page.slowest:.0f} ms, in the database {page.database:.0f}; {page.statement[:1_500]}")
    found.sort(key=lambda page: -page.slowest)
    say(f"{len(found)} pages measured; {sum(page.slowest > target for page in found)} miss the target")
    print("| kind of page | pages | p50 ms, median | p95 ms, median | greatest | processor, greatest | too slow |")
    print("|---|---|---|---|---|---|---|")
    for kind in dict.fromkeys(page.kind for page in found):
        print(_summary(kind, [page for page in found if page.kind == kind], target))
    print("\n| page | p50 ms | p95 ms | processor ms | database ms |\n|---|---|---|---|---|")
    for page in found[:SHOWN]:
        mark = "**" if page.slowest > target else ""
        figures = f"{page.median:.0f} | {mark}{page.slowest:.0f}{mark} | {page.processor:.0f} | {page.database:.0f}"
        print(f"| {page.name} | {figures} |")
    print(f"| the other {max(0, len(found) - SHOWN)} | | {found[min(SHOWN, len(found) - 1)].slowest:.0f} at most | | |")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
