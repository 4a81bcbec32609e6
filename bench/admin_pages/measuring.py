"""Asks for each list, filter, search and page of the admin in one process, and prints a table of the slowest first."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
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
SHOWN = 40
GIVE_UP = 5.0
"""Seconds after which a page is not asked for again."""


def say(text: str) -> None:
    """What belongs beside the table."""
    print(text, file=sys.stderr, flush=True)


def asked(client: Client) -> Iterator[tuple[str, str]]:
    """(name, URL) of everything."""
    index = reverse("admin:index")
    yield from ((f"dashboard, past {span}", f"{index}?span={span}") for span in ("hour", "day", "week"))
    for name in ("groups", "bulk"):
        yield f"dead letters: {name}", reverse(f"admin:nexus_deadletter_{name}")
    for model, options in admin.site._registry.items():
        if model._meta.app_label in LABELS:
            yield from _of_model(client, model, options)


def _of_model(client: Client, model: type[models.Model], options: Any) -> Iterator[tuple[str, str]]:
    name = str(model._meta.verbose_name_plural)
    url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    yield f"{name}: list", url
    first = client.get(url)
    if first.status_code != 200 or "cl" not in first.context:
        return
    changes = first.context["cl"]
    for spec in changes.filter_specs:
        for choice in list(spec.choices(changes))[:MAX_CHOICES]:
            query = str(choice.get("query_string", ""))
            yield f"{name}: {spec.title} {choice['display']}", url + query
    pages = changes.paginator.num_pages
    if pages > 1:
        yield f"{name}: page 2", f"{url}?p=2"
        yield f"{name}: last page", f"{url}?p={pages}"
    row = model._default_manager.order_by().first()
    if row is None:
        return
    if options.get_search_fields(None):
        yield f"{name}: search an id", f"{url}?q={row.pk}"
        yield f"{name}: search a word", f"{url}?q=ping"
        yield f"{name}: search what is not there", f"{url}?q=nobody-is-called-so"
    yield (
        f"{name}: a page",
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)]),
    )
    if model is Workflow:
        yield f"{name}: a page, from its beginning", f"{url}{quote(row.pk)}/change/?first=1"


def measure(client: Client, url: str, times: int) -> tuple[float, float, str]:
    """The median and the 95th percentile in milliseconds, and the slowest statement."""
    with CaptureQueriesContext(connection) as queries:
        status = client.get(url).status_code
    if status != 200:
        return 0.0, 0.0, f"status {status}"
    slowest = max(queries.captured_queries, key=lambda query: float(query["time"]), default={"sql": "", "time": "0"})
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        client.get(url)
        took.append((time.perf_counter() - began) * 1_000)
        if took[-1] > GIVE_UP * 1_000:
            break
    took.sort()
    return (
        took[len(took) // 2],
        took[min(len(took) - 1, int(len(took) * 0.95))],
        f"{slowest['time']} s: {slowest['sql']}",
    )


def main(times: int, target: float) -> None:
    """Print the table."""
    setup_test_environment()  # without it a page does not tell its context
    client = Client()
    client.force_login(User.objects.create_superuser("bench"))
    found = []
    for name, url in asked(client):
        median, slowest, statement = measure(client, url, times)
        found.append((slowest, median, name))
        if slowest > target or statement.startswith("status"):
            say(f"{name} ({url}): {slowest:.0f} ms; {statement[:1_500]}")
    found.sort(reverse=True)
    say(f"{len(found)} pages measured; {sum(slowest > target for slowest, _, _ in found)} miss the target")
    print("| page | p50 ms | p95 ms |\n|---|---|---|")
    for slowest, median, name in found[:SHOWN]:
        mark = "**" if slowest > target else ""
        print(f"| {name} | {median:.0f} | {mark}{slowest:.0f}{mark} |")
    print(f"| the other {max(0, len(found) - SHOWN)} | | {found[min(SHOWN, len(found) - 1)][0]:.0f} at most |")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
