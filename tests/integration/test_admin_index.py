"""The admin's index: each table with what is in it, what is wrong first, in few statements however long the log is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from messaging.admin import index
from messaging.directory.pausing import pause_agent
from messaging.log.counting import estimate_rows
from messaging.models import Agent, MinuteFigures, QueueMarker, Workflow
from tests.support.lab import Lab
from tests.support.operators import broken_workflow, superuser

LINE = re.compile(r'<tr class="model-(\w+)">.*?nexus-size">([^<]*)<.*?nexus-of-these">(.*?)</td>', re.DOTALL)
GROUP = re.compile(r'class="module nexus-tables" id="nexus-([\w-]+)">(.*?)</table>', re.DOTALL)
MAX_STATEMENTS = 45
"""Of the whole page with its dashboard; a table more is none more."""


def shown(client: Client, url: str = "/admin/") -> dict[str, dict[str, tuple[str, str]]]:
    """Group → table → its size, and what is said of its states."""
    html = client.get(url).content.decode()
    return {
        group: {name: (size, re.sub(r"<[^>]+>", "", states).strip()) for name, size, states in LINE.findall(body)}
        for group, body in GROUP.findall(html)
    }


def statements(client: Client) -> Sequence[str]:
    client.get("/admin/")
    with CaptureQueriesContext(connection) as queries:
        assert client.get("/admin/").status_code == 200
    return [query["sql"] for query in queries]


def test_what_is_wrong_comes_first_and_leads_to_its_rows(lab: Lab) -> None:
    broken_workflow(lab)
    lab.agent("clerk")
    pause_agent("clerk", user="olga")
    client = superuser()
    found = shown(client)
    assert found["waits-for-people"]["deadletter"] == ("1", "1 open")
    assert found["work"]["workflow"] == ("1", "1 parked")
    assert next(iter(found["work"])) == "workflow", "what is wrong stands first, the rest by name"
    assert found["work"]["delivery"] == ("2", "1 held")
    assert found["agents-and-teams"]["agent"][1] == "1 paused"
    assert next(iter(reversed(found))) == "internals"
    assert {"relaylease", "queuemarker", "processedmessage"} <= found["internals"].keys()
    assert not any("relaylease" in lines for group, lines in found.items() if group != "internals")
    html = client.get("/admin/").content.decode()
    links = re.findall(r'nexus-of-these">(.*?)</td>', html, re.DOTALL)
    for url in re.findall(r'href="([^"]+)"', "".join(links)):
        response = client.get(url)
        assert response.status_code == 200, url
        assert response.context["cl"].result_count == 1, url


def test_each_table_is_there_once_and_its_states_can_be_counted(client: Client, db: None) -> None:
    client = superuser()
    found = shown(client)
    names = [name for lines in found.values() for name in lines]
    ours = [model for model in admin.site._registry if index.is_ours({"app_label": model._meta.app_label})]
    assert sorted(names) == sorted(str(model._meta.model_name) for model in ours)
    assert {group.replace("-", " ") for group in found} <= {name.lower() for name in index.GROUPS}
    bare = [model.__name__ for model in ours if "nexus/admin.css" not in str(admin.site._registry[model].media)]
    assert not bare, "a project of one's own loads our style sheet for our pages only: put it into their Media"
    assert '"app-auth module' in client.get("/admin/").content.decode(), "other apps are listed too"
    assert "agent" not in shown(client, "/admin/nexus_agents/").get("agents-and-teams", {})


def test_its_statements_do_not_grow_and_read_no_long_table(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    client = superuser()
    before = statements(client)
    assert len(before) <= MAX_STATEMENTS, "\n".join(before)
    monkeypatch.setattr(index, "MAX_EXACT", 10)
    Workflow.objects.bulk_create(Workflow(id=uuid4(), status="paused") for _ in range(30))
    Agent.objects.bulk_create(Agent(name=f"agent{number}") for number in range(5))
    if connection.vendor == "postgresql":  # whose estimate may be that of an earlier test
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE nexus_agent")
    after = statements(client)
    assert len(after) == len(before)
    counted = [sql for sql in after if "AS counted" in sql]
    assert len(counted) == 1
    assert counted[0].count("AS counted") == counted[0].count("LIMIT 10")
    assert shown(client)["work"]["workflow"] == ("10+", "10+ paused")
    assert shown(client)["agents-and-teams"]["agent"] == ("5", "")


def test_a_long_table_is_told_by_the_databases_estimate(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "estimate_rows", lambda tables: {MinuteFigures._meta.db_table: 1_234_567})
    assert shown(superuser())["internals"]["minutefigures"] == ("about 1,200,000", "")


def test_the_estimate_is_postgresqls_own(db: None) -> None:
    QueueMarker.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE nexus_queue_marker")
    found = estimate_rows([QueueMarker._meta.db_table, "no_such_table"])
    assert found == ({QueueMarker._meta.db_table: 0} if connection.vendor == "postgresql" else {})


def test_everybody_sees_what_they_may(db: None) -> None:
    user = User.objects.create_user("guest", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_agent"))
    client = Client()
    client.force_login(user)
    assert shown(client) == {"agents-and-teams": {"agent": ("0", "")}}
