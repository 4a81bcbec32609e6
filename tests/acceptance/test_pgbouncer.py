"""Whole installations behind a real PgBouncer, which takes no startup parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal

import pytest

from messaging.testing.servers.nodes import PgBouncerNode, PostgresNode
from tests.acceptance.conftest import Install
from tests.support.installation import run_program
from tests.support.services import require

pytestmark = [pytest.mark.whole, pytest.mark.slow, pytest.mark.timeout(240)]
Mode = Literal["session", "transaction"]

READ_SETTINGS = """
import json, django
django.setup()
from django.db import connection, transaction
from messaging.log import rows
names = ["statement_timeout", "idle_in_transaction_session_timeout", "jit", "search_path"]
with transaction.atomic():
    ours = [rows.fetch(f"SHOW {name}")[0][0] for name in names]
with transaction.atomic(), connection.cursor() as cursor:
    django_s = [cursor.execute(f"SHOW {name}").fetchone()[0] for name in names]
print(json.dumps([ours, django_s]))
"""


@pytest.fixture(params=["session", "transaction"])
def pgbouncer(request: pytest.FixtureRequest, postgres: PostgresNode) -> Iterator[tuple[Mode, PgBouncerNode]]:
    require(PgBouncerNode)
    # Few connections: in transaction mode every one serves many clients, and each session one client for long.
    size = 5 if request.param == "transaction" else 40
    with PgBouncerNode(postgres, pool_mode=request.param, pool_size=size) as node:
        yield request.param, node


def test_a_run_behind_pgbouncer(install: Install, pgbouncer: tuple[Mode, PgBouncerNode], rabbitmq_url: str) -> None:
    mode, node = pgbouncer
    installation = install(rabbitmq_url, redelivery_after=3, publish_grace=1, relay_interval=0.1)
    direct = installation.environment["DATABASE_URL"]
    pooled = node.url(direct.rpartition("/")[2])
    installation.environment.update({"DATABASE_URL": pooled, "DATABASE_POOLING": mode})
    installation.relay()
    installation.worker()
    installation.program("race", "40", "10")
    installation.wait_processed(400, 120)
    installation.assert_handled_once_in_order(400)
    expected = ["1min", "6min", "off"]
    for seen in json.loads(run_program(["-c", READ_SETTINGS], installation.environment, timeout=60)):
        assert seen[:3] == expected


def test_options_of_the_url_are_kept_where_that_is_possible(
    install: Install, pgbouncer: tuple[Mode, PgBouncerNode], rabbitmq_url: str
) -> None:
    mode, node = pgbouncer
    installation = install(rabbitmq_url)
    direct = installation.environment["DATABASE_URL"]
    options = "?options=-c%20search_path%3Dmine%2Cpublic%20-c%20statement_timeout%3D7000"
    environments = [{"DATABASE_URL": direct + options}]
    if mode == "session":
        environments.append({"DATABASE_URL": node.url(direct.rpartition("/")[2]) + options, "DATABASE_POOLING": mode})
    for environment in environments:
        said = run_program(["-c", READ_SETTINGS], {**installation.environment, **environment}, timeout=60)
        for seen in json.loads(said):
            assert seen == ["7s", "6min", "off", "mine,public"]
    if mode == "transaction":
        environment = {**installation.environment, **environments[0], "DATABASE_POOLING": mode}
        with pytest.raises(AssertionError, match="ALTER ROLE"):
            run_program(["-c", READ_SETTINGS], environment, timeout=60)
