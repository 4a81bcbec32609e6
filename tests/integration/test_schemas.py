"""The schemas of an installation: the command, and registering in the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection

from agents.api import agent
from messaging.core.errors import IncompatibleSchema, SchemaError
from messaging.core.registry import registry as agents
from messaging.models import Compatibility, MessageSchema
from messaging.security.schemas.loading import load_registry
from messaging.security.schemas.registering import register
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.uri import SchemaKey
from tests.unit.schemas.making import INTEGER, TEXT, thing


@pytest.fixture(autouse=True)
def _table(transactional_db: None) -> None:
    if MessageSchema._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(MessageSchema)


def run(*arguments: object) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it wrote to both streams."""
    output, errors = StringIO(), StringIO()
    try:
        call_command("nexus_schemas", *map(str, arguments), stdout=output, stderr=errors)
    except SystemExit as end:
        return int(end.code or 0), output.getvalue(), errors.getvalue()
    return 0, output.getvalue(), errors.getvalue()


def schema_file(folder: Path, name: str, document: Any) -> Path:
    file = folder / f"{name.replace(':', '.')}.json"
    file.write_text(json.dumps({"$id": f"urn:nexus:schema:{name}", **document}))
    return file


class Placed(msgspec.Struct):
    number: int


@pytest.fixture
def shop() -> Iterator[None]:
    """An agent with a model."""

    @agent("shop", accepts={"order.placed:2": Placed, "note": str})
    def handle(message: Any, context: Any) -> None:
        """Sells."""

    yield
    agents.remove("shop")


# --- the command ---


@pytest.mark.usefixtures("shop")
def test_list_and_show() -> None:
    code, output, errors = run("list")
    assert (code, errors) == (0, "")
    assert "chat.turn:1" in output
    assert "order.placed:2" in output
    rows = {row["uri"]: row for row in json.loads(run("list", "--json")[1])}
    assert rows["urn:nexus:schema:order.placed:2"]["accepted_by"] == ["shop"]
    assert rows["urn:nexus:schema:nexus.resend:1"]["origin"].endswith("nexus.resend.1.json")
    assert json.loads(run("show", "order.placed", "--json")[1])["$ref"] == "#/$defs/Placed"
    assert run("show", "order.placed:2")[1].startswith("urn:nexus:schema:order.placed:2, from agent 'shop'")
    with pytest.raises(CommandError, match=r"Did you mean 'order\.placed'"):
        run("show", "order.plaecd")


def test_what_is_installed_is_in_order() -> None:
    code, output, errors = run("check")
    assert (code, errors) == (0, "")
    assert output.endswith("types, 0 errors.\n")


def test_check_names_every_error_with_its_file_and_the_fix(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{\n  "$id": "urn:nexus:schema:note:1",\n  "type" "string"\n}')
    files = [
        broken,
        schema_file(tmp_path, "order:1", thing("a", a=INTEGER)),
        schema_file(tmp_path, "order:2", thing("a", a={"type": "integer", "minimum": 3})),
        schema_file(tmp_path, "bill:1", {"properties": {"a": {"type": "int"}}}),
        schema_file(tmp_path, "mail:1", {"x-nexus-compatibility": "both"}),
    ]
    code, _, errors = run("check", *files)
    told = errors.splitlines()
    assert code == 1
    assert f"{broken}:3:10: is not JSON: Expecting ':' delimiter. Correct that line." in told
    assert any(line.startswith(f"{files[2]}: version 2 reads what version 1 writes: no. It refuses") for line in told)
    assert any(line.startswith(f"{files[3]}: /properties/a/type:") and "Correct" in line for line in told)
    assert any("/x-nexus-compatibility is 'both'. Choose one of none, backward" in line for line in told)
    assert len(json.loads(run("check", "--json", *files)[1])["errors"]) == len(told) == 4


def test_a_file_may_choose_how_it_is_compared_and_say_why_it_is_safe(tmp_path: Path) -> None:
    narrowed = thing("a", a={"type": "integer", "minimum": 3})
    files = [
        schema_file(tmp_path, "order:1", thing("a", a=INTEGER)),
        schema_file(tmp_path, "order:2", {**narrowed, "x-nexus-compatibility": "forward"}),
        schema_file(tmp_path, "code:1", {"type": "string", "pattern": "^ab"}),
        schema_file(tmp_path, "code:2", {"type": "string", "pattern": "^a", "x-nexus-compatibility": "backward"}),
    ]
    assert "not proven" in run("check", *files)[2]
    files[3] = schema_file(
        tmp_path,
        "code:2",
        {
            "type": "string",
            "pattern": "^a",
            "x-nexus-compatibility": "backward",
            "x-nexus-unproven": "ab begins with a (Ada)",
        },
    )
    assert run("check", *files)[0] == 0


def test_diff_shows_the_lines_and_a_sample() -> None:
    store("order", 1, thing("a", a=INTEGER))
    store("order", 2, thing("a", a=INTEGER, b=TEXT))
    store("order", 3, thing("a", a={"type": "integer", "minimum": 3}))
    assert "version 2 reads what version 1 writes: yes." in run("diff", "order", 1, 2)[1]
    output = run("diff", "order", 1, 3)[1]
    assert '+      "minimum": 3' in output
    assert "version 3 reads what version 1 writes: no. It refuses" in output
    (found, _) = json.loads(run("diff", "order", 1, 3, "--json")[1])
    assert found["sample"]["a"] < 3
    with pytest.raises(CommandError, match="Name the older first"):
        run("diff", "order", 2, 1)
    with pytest.raises(CommandError, match="it has 1, 2, 3"):
        run("diff", "order", 1, 9)


@pytest.mark.usefixtures("shop")
def test_export(tmp_path: Path) -> None:
    run("export", "--output", tmp_path / "all.json")
    exported = json.loads((tmp_path / "all.json").read_text())
    assert exported["urn:nexus:schema:chat.stop:1"]["type"] == "null"
    with pytest.raises(CommandError, match="cannot be written: No such file"):
        run("export", "--output", tmp_path / "missing" / "all.json")


def resolve(document: Any, reference: str) -> Any:
    assert reference.startswith("#/"), reference
    for part in reference[2:].split("/"):
        document = document[part.replace("~1", "/").replace("~0", "~")]
    return document


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for item in node.values():
            yield from references(item)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


@pytest.mark.usefixtures("shop")
def test_the_asyncapi_document_is_whole() -> None:
    document = json.loads(run("export", "--asyncapi", "--title", "Shop")[1])
    assert (document["asyncapi"], document["info"]["title"]) == ("3.0.0", "Shop")
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        resolve(document, reference)
    operation = document["operations"]["shop.receive"]
    assert operation["action"] == "receive"
    messages = [resolve(document, item["$ref"]) for item in operation["messages"]]
    names = [resolve(document, message["$ref"])["name"] for message in messages]
    assert names == ["order.placed", "note"]
    payload = resolve(document, "#/components/messages/order.placed_v2/payload")["$ref"]
    assert resolve(document, payload)["schema"]["$defs"]["Placed"]["required"] == ["number"]


def test_the_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("nexus_schemas", "--help")
    assert "nexus_schemas diff order.placed 1 2 " in capsys.readouterr().out


# --- registering ---


def store(type: str, version: int, document: Any, **fields: Any) -> MessageSchema:
    return MessageSchema.objects.create(type=type, version=version, document=document, **fields)


def test_a_compatible_version_is_registered() -> None:
    registry = load_registry()
    register(registry, SchemaKey("order", 1), thing("a", a=INTEGER), by="ada")
    register(registry, SchemaKey("order", 2), thing("a", a=INTEGER, b=TEXT), by="ada")
    again = load_registry()
    assert registry.versions("order") == again.versions("order") == [1, 2]
    assert again.require("order").origin == "database, order version 2"
    row = MessageSchema.objects.get(type="order", version=2)
    assert (row.compatibility, row.registered_by) == ("full_transitive", "ada")


def test_a_breaking_version_is_not_whatever_the_reason() -> None:
    registry = load_registry()
    register(registry, SchemaKey("order", 1), thing("a", a=INTEGER), by="ada")
    narrowed = thing("a", a={"type": "integer", "minimum": 3})
    with pytest.raises(IncompatibleSchema, match=r'It refuses \{"a": -?\d\}: data/a: expected at least 3'):
        register(registry, SchemaKey("order", 2), narrowed, by="ada", override_reason="I want it")
    assert registry.versions("order") == [1]
    assert MessageSchema.objects.count() == 1
    register(registry, SchemaKey("order", 2), narrowed, by="ada", mode=Compatibility.FORWARD)


def test_what_is_not_proven_is_registered_with_its_reason() -> None:
    registry = load_registry()
    register(registry, SchemaKey("code", 1), {"type": "string", "pattern": "^ab"}, by="ada")
    second = SchemaKey("code", 2), {"type": "string", "pattern": "^a"}
    with pytest.raises(IncompatibleSchema, match="not proven"):
        register(registry, *second, by="ada", mode=Compatibility.BACKWARD)
    row = register(registry, *second, by="ada", mode=Compatibility.BACKWARD, override_reason="ab begins with a")
    assert MessageSchema.objects.get(pk=row.pk).override_reason == "ab begins with a"


def test_versions_come_one_after_another() -> None:
    registry = load_registry()
    with pytest.raises(SchemaError, match=r"the next version of 'chat\.turn' is 2"):
        register(registry, SchemaKey("chat.turn", 1), TEXT, by="ada")
    with pytest.raises(SchemaError, match="the next version of 'order' is 1"):
        register(registry, SchemaKey("order", 3), TEXT, by="ada")
    outdated = SchemaRegistry(registry)
    register(registry, SchemaKey("order", 1), TEXT, by="ada")
    with pytest.raises(SchemaError, match="registered by somebody else meanwhile"):
        register(outdated, SchemaKey("order", 1), INTEGER, by="bob")
    assert outdated.versions("order") == []


@pytest.mark.parametrize("document", [{"type": "int"}, {"$ref": "file:///etc/passwd"}, [], {"pattern": "(?=a)"}])
def test_what_is_no_schema_is_not_stored(document: Any) -> None:
    with pytest.raises(SchemaError):
        register(load_registry(), SchemaKey("order", 1), document, by="ada")
    assert MessageSchema.objects.count() == 0
