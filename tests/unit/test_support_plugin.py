"""The run's database is the chosen one, and private."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.support.plugin import chosen_vendor


@pytest.mark.django_db
def test_the_run_uses_the_chosen_vendor() -> None:
    assert connection.vendor == {"sqlite": "sqlite", "postgres": "postgresql"}[chosen_vendor()]


@pytest.mark.django_db(transaction=True)
def test_another_process_sees_what_this_test_committed(database_url: str, project_environment: dict[str, str]) -> None:
    from django.contrib.auth.models import User

    User.objects.create(username="visible")
    code = (
        "import django; django.setup()\nfrom django.contrib.auth.models import User\nprint(User.objects.get().username)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**project_environment, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "visible", done.stderr


def test_files_are_private_to_the_run() -> None:
    assert not Path(settings.DATA_DIR).is_relative_to(Path(__file__).resolve().parents[2])


def test_an_unknown_vendor_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_DATABASE", "oracle")
    with pytest.raises(pytest.UsageError, match="expected one of sqlite, postgres"):
        chosen_vendor()
