"""Nexus in somebody else's project: the wheel in an empty environment, and the blocks of docs/existing-project.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.testing.servers.processes import Supervised
from messaging.testing.servers.waiting import wait_until
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "existing-project.md"
TOOLS = ["mypy", "django-stubs"]
MYPY = """
[mypy]
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = mysite.settings
[mypy-celery.*]
ignore_missing_imports = True
"""
PLACE = """
import django

django.setup()
from django.test import Client

print(Client(SERVER_NAME="localhost").post("/orders/", {"item": "lamp"}).json()["order"])
"""
LOOK = """
import django

django.setup()
from shop.models import Order

print(*Order.objects.values_list("status", "packed").get())
"""
OPERATE = """
import django

django.setup()
from messaging.tasks import prune

print(prune.delay().id)
"""


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None, timeout: float = 90.0) -> str:
    """Run a program to its end; return what it wrote."""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout)
    said = done.stdout[-3_000:] + done.stderr[-3_000:]
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said}"
    return done.stdout


class Project:
    """A project outside of the checkout, with an environment of its own.

    Args:
        folder: for everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.programs = folder / "venv" / "bin"
        foreign = ("NEXUS_", "DJANGO_", "CELERY_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        for name in ("DATABASE_URL", "BROKER_URL", "REDIS_URL", "PYTHONPATH", "VIRTUAL_ENV", "SECRET_KEY"):
            kept.pop(name, None)
        self.environment = {**kept, "PATH": f"{self.programs}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        self.environment["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
        self.processes: list[Supervised] = []

    def python(self, *arguments: str) -> str:
        """Run the environment's Python in the project's folder."""
        return run([str(self.programs / "python"), *arguments], self.folder, self.environment)

    def start(self, name: str, *command: str) -> Supervised:
        """Start a process of the project."""
        program, *arguments = command
        process = Supervised(
            [str(self.programs / program), *arguments],
            log_file=self.folder / f"{name}.log",
            environment=self.environment,
            name=name,
            folder=self.folder,
        )
        self.processes.append(process.start())
        return process


def write_blocks(folder: Path) -> None:
    """Put the page's Python blocks where their first lines say."""
    text = PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n# (.*?)^```$", text, re.MULTILINE | re.DOTALL):
        name, _, rest = block.partition("\n")
        path, _, at_its_end = name.partition(", ")
        before = (folder / path).read_text(encoding="utf-8") if at_its_end else ""
        (folder / path).write_text(f"{before}\n{rest}", encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project made of the page, installed and migrated."""
    made = Project(tmp_path)
    wheels = tmp_path / "wheels"
    run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(wheels), str(ROOT)], tmp_path)
    run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], tmp_path)
    wheel = next(wheels.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", str(made.programs / "python"), "install", "-q", "--no-compile"]
    run([*pip, str(wheel), *TOOLS], tmp_path, made.environment)
    made.folder.mkdir()
    run([str(made.programs / "django-admin"), "startproject", "mysite", "."], made.folder)
    made.environment.pop("DJANGO_SETTINGS_MODULE")
    made.python("manage.py", "startapp", "shop")
    made.environment["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
    write_blocks(made.folder)
    # Projects begun before Django 3.2 have small keys: our tables must not depend on it.
    settings = made.folder / "mysite" / "settings.py"
    text = re.sub(r"^DEFAULT_AUTO_FIELD.*\n", "", settings.read_text(), flags=re.MULTILINE)
    text = text.replace("ALLOWED_HOSTS = []", "ALLOWED_HOSTS: list[str] = []")  # mypy asks for it in any project
    settings.write_text(f'{text}\nDEFAULT_AUTO_FIELD = "django.db.models.AutoField"\n')
    (made.folder / "mypy.ini").write_text(MYPY)
    made.python("manage.py", "makemigrations", "shop")
    made.python("manage.py", "migrate", "--verbosity", "0")
    yield made
    for process in made.processes:
        process.stop()


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.timeout(240)  # packages are downloaded
def test_a_project_of_its_own(project: Project) -> None:
    assert not list(project.programs.parent.rglob("whitenoise")), "the site's packages are no dependencies of the wheel"
    project.python("manage.py", "makemigrations", "--check", "--dry-run")
    assert "no issues" in project.python("manage.py", "check")

    types = project.start("types", "python", "-m", "mypy", "mysite", "shop", "manage.py")
    worker = project.start("worker", "celery", "-A", "mysite", "worker", "-c", "1", "-l", "info")
    relay = project.start("relay", "python", "manage.py", "nexus_relay")
    worker.wait_for_log("ready", 30)
    assert project.python("-c", PLACE).strip() == "1"
    wait_until(
        lambda: project.python("-c", LOOK).strip() == "accepted True",
        30,
        lambda: f"the order to be accepted and packed\n{worker.log()}\n{relay.log()}",
        interval=0.2,
    )
    operated = project.python("-c", OPERATE).strip()
    worker.wait_for_log(f"nexus.prune[{operated}] succeeded", 15)
    assert (project.folder / "var" / "transport.sqlite3").exists()
    assert types.wait(60) == 0, types.log()
