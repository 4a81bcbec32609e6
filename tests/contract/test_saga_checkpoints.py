"""Signed checkpoints of the journals: what was cut or altered in the database, or in the file, is found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from messaging.api import Participant, Saga, Sagas, registry
from messaging.models import JournalEntry, SagaRun, StepRecord
from messaging.recovery.relay import Relay
from messaging.transactions.pruning import prune_sagas
from tests.support.lab import Lab


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("nexus_transactions", *arguments, stdout=output)
    return output.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "checkpoints"
    with override_settings(NEXUS={"JOURNAL_CHECKPOINTS": str(path)}):
        yield path


@pytest.fixture
def sagas(lab: Lab, file: Path) -> Iterator[Sagas]:
    Participant("shop").register().does("shop.do")(lambda request: None)
    yield Sagas(lab.bus)
    registry.remove("shop")


def run(lab: Lab, sagas: Sagas) -> UUID:
    saga = sagas.start(Saga("x").step("a", do=("shop", "shop.do")))
    lab.until(lambda: sagas.status(saga).ended)
    return saga


def cut_the_tail(saga: UUID) -> None:
    """As somebody does who may write every table."""
    JournalEntry.objects.filter(workflow_id=saga).order_by("number").last().delete()  # type: ignore[union-attr]
    last = JournalEntry.objects.filter(workflow_id=saga).order_by("number").last()
    assert last is not None
    SagaRun.objects.filter(pk=saga).update(journal_count=last.number, journal_head=last.hash, status=last.status)


def test_a_cut_tail_is_found(lab: Lab, sagas: Sagas, file: Path) -> None:
    saga = run(lab, sagas)
    assert "1 journals" in command("checkpoint")
    assert "0 journals" in command("checkpoint"), "nothing is written twice"
    other = run(lab, sagas)
    assert "1 journals" in command("checkpoint")
    assert "nothing wrong" in command("verify")
    cut_the_tail(saga)
    with override_settings(NEXUS={}):
        assert "nothing wrong" in command("verify"), "the database alone does not show it"
        with pytest.raises(CommandError, match="it was cut"):
            command("verify", "--checkpoints", str(file))
    SagaRun.objects.filter(pk=other).delete()
    JournalEntry.objects.filter(workflow_id=other).delete()
    with pytest.raises(CommandError, match="is none any more"):
        command("verify")


@pytest.mark.parametrize("harm", ["alter", "forge", "cut"])
def test_an_altered_file_is_found(lab: Lab, sagas: Sagas, file: Path, harm: str) -> None:
    for _ in range(3):
        run(lab, sagas)
        command("checkpoint")
    lines = file.read_text().splitlines()
    line = json.loads(lines[1])
    if harm == "alter":
        line["payload"] = line["payload"].replace('"pruned": []', '"pruned": ["x"]')
        lines[1] = json.dumps(line)
    elif harm == "forge":
        lines[1] = lines[2]
    else:
        del lines[1]
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(CommandError, match="proves nothing" if harm == "alter" else "does not follow"):
        command("verify")


def test_a_line_that_a_crash_left_unfinished_is_taken_away(lab: Lab, sagas: Sagas, file: Path) -> None:
    run(lab, sagas)
    command("checkpoint")
    with file.open("a") as opened:
        opened.write('{"payload": "{')
    assert "nothing wrong" in command("verify")
    run(lab, sagas)
    command("checkpoint")
    assert "nothing wrong" in command("verify")
    assert len(file.read_text().splitlines()) == 2


def test_the_relay_writes_checkpoints(lab: Lab, sagas: Sagas, file: Path) -> None:
    lab.relay = Relay(lab.broker)  # which read the settings
    saga = run(lab, sagas)
    lab.relay_turn()
    assert str(saga) in file.read_text()


def test_what_is_pruned_is_written_down_first(lab: Lab, sagas: Sagas, file: Path) -> None:
    run(lab, sagas)
    running = sagas.start(Saga("x").approval("boss"))
    lab.until(lambda: sagas.status(running).status == "waiting")
    lab.clock.advance(60)
    with override_settings(NEXUS={}), pytest.raises(Exception, match="NEXUS_JOURNAL_CHECKPOINTS"):
        prune_sagas(timedelta(seconds=30))
    assert prune_sagas(timedelta(seconds=30)) == 1
    assert list(SagaRun.objects.values_list("pk", flat=True)) == [running]
    assert not StepRecord.objects.exists()
    assert "nothing wrong" in command("verify")
    SagaRun.objects.all().delete()
    JournalEntry.objects.all().delete()
    command("verify")  # no checkpoint knew it
