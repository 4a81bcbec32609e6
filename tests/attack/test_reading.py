"""Attacks by documents: what reads YAML, pickles and JSON runs nothing, grows little and fails in words."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import ContentDisallowed
from kombu.message import Message as KombuMessage
from kombu.serialization import prepare_accept_content

from agents.chat.rules import schema as teams
from agents.chat.rules.errors import DefinitionError
from messaging.core.errors import NexusError
from messaging.operators import rule_sets
from messaging.security.access import reading
from messaging.security.content.settings import read_settings
from nexus_site.celery import app
from tests.support.paths import ROOT

MARK = "attacked"


def document(text: str, folder: Path) -> Path:
    file = folder / "document.yaml"
    file.write_text(text)
    return file


READERS: dict[str, Callable[[str, Path], object]] = {
    "teams": lambda text, folder: teams.read_text(text),
    "access policies": lambda text, folder: reading.read_text(text),
    "content rules": lambda text, folder: read_settings(document(text, folder)),
    "verification rules": lambda text, folder: rule_sets.digest_of(text),
}
DOCUMENTS = {
    "object": f'!!python/object/apply:os.mkdir ["{MARK}"]',
    "object within": f'{{rules: !!python/object/apply:os.mkdir ["{MARK}"]}}',
    "object as a key": f'{{? !!python/object/apply:os.mkdir ["{MARK}"] : 1}}',
    "name": "{rules: !!python/name:os.system }",
    "module": "{rules: !!python/module:os }",
    "binary": "{rules: !!binary aGVsbG8= }",
    "own tag": "{rules: !secret x}",
    "expansion": "\n".join(["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 90)]),
    "merge keys": "{a: &a {x: 1}, b: {<<: *a}}",
    "nesting": "[" * 20_000,
    "nested maps": "{a: " * 20_000,
    "integer of many digits": "rules: " + "9" * 5_000,
    "a mapping in a number's clothes": '{rules: !!int "{x: 1}"}',
    "a broken document in a number's clothes": '{rules: !!int "["}',
    "sexagesimal": "rules: 1" + ":59" * 5_000,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_document_runs_or_grows(reader: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((NexusError, DefinitionError)) as refused:
        READERS[reader](DOCUMENTS[name], tmp_path)
    assert len(str(refused.value)) < 2_000
    assert not Path(MARK).exists()


class Pickled:
    """What runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (MARK,)


@pytest.mark.parametrize("kind", ["pickle", "application/x-python-serialize", "yaml", "application/x-yaml"])
def test_a_worker_reads_no_pickles(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = (
        pickle.dumps(Pickled())
        if kind[-1:] != "y" and "yaml" not in kind
        else f'!!python/object/apply:os.mkdir ["{MARK}"]'
    )
    for accepted in (app.conf.accept_content, app.conf.result_accept_content or app.conf.accept_content):
        message = KombuMessage(  # type: ignore[no-untyped-call]
            body=body,
            content_type=kind,
            content_encoding="binary" if isinstance(body, bytes) else "utf-8",
            accept=prepare_accept_content(accepted),  # type: ignore[no-untyped-call]
        )
        with pytest.raises(ContentDisallowed):
            message.decode()  # type: ignore[no-untyped-call]
    assert not Path(MARK).exists()


def test_nothing_of_the_project_unpickles_or_evaluates() -> None:
    forbidden = (
        "import pickle",
        "import marshal",
        "import shelve",
        "yaml.load(",
        "yaml.unsafe_load",
        " eval(",
        " exec(",
    )
    for package in ("messaging", "agents", "nexus_site"):
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            assert not [word for word in forbidden if word in text], file
