"""A web process is killed in the midst of a request with an Idempotency-Key, and the client repeats it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings

from messaging.models import Message
from messaging.testing.servers.waiting import wait_until
from nexus_api.tokens import create_token
from tests.support.fault_points import POINTS_OF_REQUESTS, make_tokens, tokens_left
from tests.support.installation import Installation
from tests.support.operators import make_auditor


@pytest.mark.timeout(180)
@pytest.mark.django_db(transaction=True)
def test_one_message_and_the_same_answer(
    database_url: str, project_environment: dict[str, str], settings: Settings, tmp_path: Path
) -> None:
    """SIGKILL after the claim, before the commit, and between the commit and the answer."""
    tokens = tmp_path / "tokens"
    faults = {"FAULT_TOKENS": str(tokens), "FAULT_CALL": "1", "FAULT_CLAIM": "0.5"}
    tokens.mkdir()
    make_auditor(settings)
    owner = User.objects.create_superuser("root")
    _, secret = create_token(name="t", owner=owner, scopes=["workflows:start", "messages:send"])
    environment = {**project_environment, **faults, "DATABASE_URL": database_url, "GUNICORN_CMD_ARGS": "--preload"}
    with (
        Installation(tmp_path, environment) as installation,
        httpx2.Client(headers={"Authorization": f"Bearer {secret}"}, timeout=30) as client,
    ):
        url = f"{installation.web()}/api/workflows"
        workflow = client.post(url, json={"name": "w"}).json()["workflow"]

        def send(key: str) -> httpx2.Response | None:
            body = {"recipient": "auditor", "type": "audit.start", "data": {"key": key}}
            try:
                return client.post(f"{url}/{workflow}/messages", json=body, headers={"Idempotency-Key": key})
            except httpx2.TransportError:
                return None

        answers: dict[str, Any] = {}
        for point in POINTS_OF_REQUESTS:
            make_tokens(tokens, (point,), 1)
            assert send(point) is None
            assert tokens_left(tokens) == []
            seen: list[int] = []

            def answered(point: str = point, seen: list[int] = seen) -> bool:
                response = send(point)
                seen.append(0 if response is None else response.status_code)
                if seen[-1] == 201:
                    answers[point] = response
                return seen[-1] == 201

            wait_until(answered, 60, f"an answer after {point}")
            assert set(seen) <= {0, 409, 201}
        first = {point: response.json() for point, response in answers.items()}
        stored = {str(key) for key in Message.objects.values_list("pk", flat=True)}
        assert stored == {answer["message"] for answer in first.values()}
        assert [answer["sequence"] for answer in first.values()] == [1, 2, 3]
        assert answers["after_commit_of_answer"].headers["Idempotent-Replayed"] == "true"
        for point, answer in first.items():
            repeated = send(point)
            assert repeated is not None
            assert (repeated.status_code, repeated.json()) == (201, answer)
    assert Message.objects.count() == len(POINTS_OF_REQUESTS)
