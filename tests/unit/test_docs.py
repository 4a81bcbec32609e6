"""The documents stay true: their code runs, their tables are complete, their links lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from messaging.conf import NexusSettings
from messaging.testing.servers.processes import Supervised
from tests.support.paths import ROOT

DOCUMENTS = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in ("var", "node_modules") for part in path.relative_to(ROOT).parts)
)
CONFIGURATION = ROOT / "docs" / "configuration.md"


def blocks(document: Path) -> list[str]:
    """The Python blocks of a document, each with its lines where they are in the document."""
    text = document.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return ["\n" * (text.count("\n", 0, block.start()) + 1) + block[1] for block in found]


def rows(document: Path) -> dict[str, list[str]]:
    """The rows of a document's tables: the first cell without its backticks → the other cells."""
    lines = [line for line in document.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {row[0].strip("`"): row[1:] for row in cells}


def python(*arguments: str, environment: Mapping[str, str], given: str = "") -> str:
    """Run Python in the repository, with a text as its input; return the last line that it printed."""
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=dict(environment), input=given, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return (done.stdout.strip().splitlines() or [""])[-1]


# --- code ---


@pytest.mark.parametrize("document", ["docs/agents.md", "docs/schemas.md"])
def test_code_in_documents_runs(document: str, project_environment: dict[str, str]) -> None:
    code = json.dumps(blocks(ROOT / document))
    python("-c", RUN, document, environment=project_environment, given=code)


RUN = """
import json, sys
import django

django.setup()
namespace = {}
for block in json.load(sys.stdin):
    exec(compile(block, sys.argv[1], "exec"), namespace)
"""


class Shop:
    """The app of the README's tour in a folder of its own, with a worker and a relay.

    Args:
        folder: for the app and logs.
        environment: of its processes.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            "NEXUS_APPS": "shop",
            "NEXUS_MAX_ATTEMPTS": "2",
            "NEXUS_RETRY_BASE": "0.05",
            "PYTHONPATH": f"{folder}:{ROOT}",
        }
        self.loose: dict[str, str] = {}
        (folder / "shop" / "migrations").mkdir(parents=True)
        for package in ("shop", "shop/migrations"):
            (folder / package / "__init__.py").touch()
        for block in blocks(ROOT / "README.md"):
            name = block.strip().splitlines()[0].removeprefix("# ").partition(":")[0]
            if name.startswith("shop/"):
                (folder / name).write_text(block, encoding="utf-8")
            else:
                self.loose[name] = block
        worker = [sys.executable, "-m", "celery", "-A", "nexus_site", "worker", "-c", "1", "--loglevel", "info"]
        relay = [sys.executable, "manage.py", "nexus_relay"]
        self.worker = Supervised(worker, log_file=folder / "worker.log", environment=self.environment)
        self.relay = Supervised(relay, log_file=folder / "relay.log", environment=self.environment)

    def visit(self, *steps: str) -> dict[str, str]:
        """Run steps of the tour in a process; return the orders: item → status."""
        code = json.dumps(self.loose)
        orders: dict[str, str] = json.loads(python("-c", VISIT, *steps, environment=self.environment, given=code))
        return orders

    def stop(self) -> None:
        """End the worker and the relay."""
        self.worker.stop()
        self.relay.stop()


@pytest.fixture
def shop(project_environment: dict[str, str], tmp_path: Path) -> Iterator[Shop]:
    """The tour's shop; nothing of it runs yet."""
    made = Shop(tmp_path, project_environment)
    yield made
    made.stop()


VISIT = """
import json, sys
import django

django.setup()
from django.core.management import call_command
from django.test import Client

from messaging.testing.servers.waiting import wait_until

loose = json.load(sys.stdin)
client = Client()


def status(order):
    return client.get(f"/orders/{order}/").json()["status"]


def order(item, expected):
    placed = client.post("/orders/", {"item": item})
    assert placed.status_code == 202, placed.content
    wait_until(lambda: expected(placed.json()["order"]), 30, f"the order of a {item}")


def step(name):
    if name == "migrate":
        call_command("makemigrations", "shop", verbosity=0)
        call_command("migrate", verbosity=0)
    elif name == "lamp":
        order("lamp", lambda number: status(number) == "charged")
    elif name == "ask":
        namespace = {}
        exec(loose["python manage.py shell"], namespace)
        assert namespace["reply"].data == 40
    elif name == "chair":
        from messaging.models import DeadLetter, Workflow
        order("chair", lambda number: DeadLetter.objects.filter(error="KeyError", status="open").exists())
        assert Workflow.objects.filter(status="parked").count() == 1
    elif name == "replay":
        call_command("nexus_replay", "--all", "--yes", verbosity=0)
        wait_until(lambda: status(2) == "charged", 30, "the order of a chair")
    elif name == "completed":
        from messaging.models import Workflow
        assert set(Workflow.objects.filter(name__startswith="order").values_list("status")) == {("completed",)}
        assert Workflow.objects.exclude(status="completed").get().deadline_at is not None


for name in sys.argv[1:]:
    step(name)
from shop.models import Order
print()
print(json.dumps(dict(Order.objects.values_list("item", "status"))))
"""


@pytest.mark.slow
def test_the_tour_of_the_readme(shop: Shop) -> None:
    assert shop.visit("migrate") == {}
    shop.worker.start()
    shop.relay.start()
    assert shop.visit("lamp", "ask", "chair") == {"lamp": "charged", "chair": "placed"}
    shop.worker.wait_for_log("mail got 'Lamps are cheaper.'", 20)
    shop.worker.wait_for_log("archive got 'Lamps are cheaper.'", 20)

    shop.worker.kill()
    agents = shop.folder / "shop" / "nexus_agents.py"
    corrected = agents.read_text(encoding="utf-8").replace('"lamp": 40}', '"lamp": 40, "chair": 15}')
    agents.write_text(corrected, encoding="utf-8")
    shop.worker.start()
    assert shop.visit("replay", "completed") == {"lamp": "charged", "chair": "charged"}


# --- tables ---


def default_of(name: str) -> str:
    """A setting's default as the documents write it."""
    default = next(field.default for field in fields(NexusSettings) if field.name == name)
    return "empty" if default == "" else f"`{default}`"


@pytest.mark.parametrize("name", [field.name for field in fields(NexusSettings) if field.default is not MISSING])
def test_every_setting_stands_with_its_default(name: str) -> None:
    row = rows(CONFIGURATION).get(f"NEXUS_{name.upper()}")
    assert row is not None, f"docs/configuration.md has no row for NEXUS_{name.upper()}"
    assert row[1] == default_of(name)


def test_no_setting_stands_that_does_not_exist() -> None:
    known = {f"NEXUS_{field.name.upper()}" for field in fields(NexusSettings)} | {"NEXUS_APPS", "NEXUS_LOG_FORMAT"}
    documented = {name for name in rows(CONFIGURATION) if name.startswith("NEXUS_")}
    assert documented <= known


def test_every_variable_of_the_site_stands() -> None:
    settings = (ROOT / "nexus_site" / "settings.py").read_text(encoding="utf-8")
    procfile = (ROOT / "Procfile").read_text(encoding="utf-8")
    read = set(re.findall(r"""(?:environ\.get|_flag|_list)\("([A-Z_]+)\"""", settings))
    assert len(read) > 8, "the settings are read in another way than this test knows"
    read |= set(re.findall(r"\$\{([A-Z_]+):-", procfile))
    written = CONFIGURATION.read_text(encoding="utf-8")
    internal = {"CELERY_BROKER_URL"}  # set by the celery command itself
    assert {name for name in read - internal if f"`{name}`" not in written} == set()


def test_every_check_stands_with_its_fix() -> None:
    sources = [path.read_text(encoding="utf-8") for folder in ("messaging", "agents") for path in checks_of(folder)]
    known = {found for source in sources for found in re.findall(r"\b([EW]\d{3})\b", source)}
    known |= {f"E{int(number):03}" for source in sources for number in re.findall(r"_error\(\s*(\d+),", source)}
    assert len(known) > 20
    documented = {name.removeprefix("nexus.") for name in rows(CONFIGURATION) if name.startswith("nexus.")}
    assert documented == known


def checks_of(app: str) -> list[Path]:
    """The modules with an app's system checks."""
    return [
        path for pattern in ("checks.py", "checks/*.py", "brokers/*/checks.py") for path in (ROOT / app).glob(pattern)
    ]


# --- links ---


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_pictures_are_small() -> None:
    assert [path.name for path in (ROOT / "docs" / "img").iterdir() if path.stat().st_size > 200_000] == []
