"""Names of schemas, and which schema a name has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from messaging.core.errors import NexusError, SchemaError, UnknownSchema
from messaging.core.registry import AgentSpec
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import from_agents, from_folders, from_rows, read_file
from messaging.security.schemas.uri import SchemaKey, build_uri, parse_name, parse_uri
from messaging.security.schemas.validation import violation_of
from tests.unit.schemas.making import INTEGER, TEXT, found, registry_of, thing

# --- names ---


@pytest.mark.parametrize("key", [SchemaKey("order.placed", 3), SchemaKey("a/b-c_d.E", 999_999)])
def test_a_uri_names_type_and_version(key: SchemaKey) -> None:
    assert parse_uri(build_uri(*key)) == key


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "urn:nexus:schema:",
        "urn:nexus:schema:order",
        "urn:nexus:schema:order:0",
        "urn:nexus:schema:order:01",
        "urn:nexus:schema:order:1000000",
        "urn:nexus:schema:order:²",
        "urn:nexus:schema:a b:1",
        "urn:nexus:schema:a:1:1",
        "http://example.org/order.json",
        "file:///etc/passwd",
        "URN:nexus:schema:order:1",
    ],
)
def test_what_names_no_schema_is_refused(uri: str) -> None:
    with pytest.raises(SchemaError, match="names no schema"):
        parse_uri(uri)


def test_people_may_leave_the_version_out() -> None:
    assert parse_name("order.placed") == ("order.placed", 1)
    assert parse_name("order.placed:2") == ("order.placed", 2)


# --- resolving ---


def test_the_newest_version_is_meant_when_none_is_named() -> None:
    registry = registry_of(order_v2=TEXT, order_v1=INTEGER)
    newest, first = registry.resolve("order"), registry.resolve("order", 1)
    assert newest is not None
    assert first is not None
    assert (newest.key.version, first.key.version) == (2, 1)
    assert registry.resolve_uri("urn:nexus:schema:order:1") is first
    assert registry.uri_of("order") == "urn:nexus:schema:order:2"
    assert (registry.resolve("other"), registry.uri_of("other")) == (None, None)


def test_an_unknown_name_is_refused_with_what_is_known() -> None:
    registry = registry_of(order_v1=INTEGER)
    with pytest.raises(UnknownSchema, match="it has 1"):
        registry.resolve("order", 7)
    with pytest.raises(UnknownSchema, match="Did you mean 'order'"):
        registry.require("oder")


def test_a_version_never_changes() -> None:
    registry = registry_of(order_v1=INTEGER)
    registry.add([found("order:1", {**INTEGER, "$id": "urn:nexus:schema:order:1", "deprecated": True})])
    with pytest.raises(SchemaError, match="elsewhere: order version 1 is defined differently in a test"):
        registry.add([found("order:1", TEXT, "elsewhere")])


def test_schemas_refer_to_each_other_by_name() -> None:
    registry = registry_of(
        address_v1=thing("city", city=TEXT),
        person_v1=thing(home={"$ref": "urn:nexus:schema:address:1"}),
        order_v1=thing(by={"$ref": "urn:nexus:schema:person:1#/properties/home"}),
        broken_v1={"$ref": "urn:nexus:schema:nothing:1"},
    )
    order = registry.require("order")
    assert violation_of(order, {"by": {"city": "Ulm"}}) is None
    violation = violation_of(order, {"by": {"city": 1}})
    assert violation is not None
    assert violation.problems == ("data/by/city: expected a value of type string",)
    with pytest.raises(UnknownSchema, match="names no registered schema"):
        registry.require("broken")


# --- files ---


def test_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "anything.json").write_text('{"$id": "urn:nexus:schema:order:3", "type": "integer"}')
    (tmp_path / "notes.txt").write_text("not a schema")
    registry = SchemaRegistry(from_folders([tmp_path, tmp_path / "missing"]))
    assert registry.versions("order") == [3]


REFUSED_FILES = {
    "a comma too many": (b'{\n "$id": "urn:nexus:schema:a:1",\n}', ":3:1: is not JSON"),
    "no name": (b'{"type": "integer"}', r"/\$id is missing. Begin the schema with"),
    "a foreign name": (b'{"$id": "http://example.org/a"}', r"/\$id: .* names no schema"),
    "a list": (b"[]", r"/\$id is missing"),
    "two keys": (b'{"$id": "urn:nexus:schema:a:1", "type": "null", "type": "integer"}', "type: stands twice"),
    "not UTF-8": (b'{"\xff": 1}', "is not UTF-8"),
    "too deep": (b"[" * 100_000, "nested too deeply"),
    "another draft": (
        b'{"$id": "urn:nexus:schema:a:1", "$schema": "http://json-schema.org/draft-07/schema#"}',
        r"/\$schema is 'http://json-schema.org/draft-07/schema#'; write",
    ),
    "an unknown type": (b'{"$id": "urn:nexus:schema:a:1", "properties": {"x": {"type": "int"}}}', "/properties/x/type"),
    "an unknown format": (b'{"$id": "urn:nexus:schema:a:1", "format": "dtae"}', "Unknown format: 'dtae'"),
    "look-around": (b'{"$id": "urn:nexus:schema:a:1", "pattern": "(?=a)b"}', "no look-around"),
    "a fetch": (b'{"$id": "urn:nexus:schema:a:1", "$ref": "http://127.0.0.1:9/x"}', "nothing is ever fetched"),
    "a loose end": (b'{"$id": "urn:nexus:schema:a:1", "$ref": "#/$defs/x"}', r"defs/x"),
}


@pytest.mark.parametrize(("text", "words"), REFUSED_FILES.values(), ids=REFUSED_FILES)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path, text: bytes, words: str) -> None:
    file = tmp_path / "broken.json"
    file.write_bytes(text)
    with pytest.raises(SchemaError, match=words) as refused:
        SchemaRegistry([read_file(file)]).require("a")
    assert str(refused.value).startswith(str(file))


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(SchemaError, match="has more than 1048576 bytes"):
        read_file(Path("/dev/zero"))


# --- models ---


class Line(msgspec.Struct):
    sku: str
    pieces: int = 1


class Struct(msgspec.Struct):
    number: int
    lines: list[Line] = []


@dataclasses.dataclass
class Plain:
    number: int
    lines: list[Line] = dataclasses.field(default_factory=list)


class PydanticLine(pydantic.BaseModel):
    sku: str
    pieces: int = 1


class Pydantic(pydantic.BaseModel):
    number: int
    lines: list[PydanticLine] = []


def spec_of(models: dict[str, Any]) -> AgentSpec:
    return AgentSpec(name="shop", handler=lambda message, context: None, models=models)


@pytest.mark.parametrize("model", [Struct, Plain, Pydantic])
def test_a_model_gives_the_schema_and_the_object(model: Any) -> None:
    registry = SchemaRegistry(from_agents([spec_of({"order.placed:2": model})]))
    schema = registry.require("order.placed")
    assert schema.key.version == 2
    data = {"number": 7, "lines": [{"sku": "lamp", "unknown": True}], "unknown": 1}
    assert violation_of(schema, data) is None
    convert = registry.converter("order.placed", 2)
    assert convert is not None
    made = convert(data)
    assert isinstance(made, model)
    assert made.lines[0].pieces == 1
    for refused in ({}, {"number": "7"}, {"number": 7, "lines": [{}]}, None):
        assert violation_of(schema, refused) is not None
    assert registry.converter("order.placed", 1) is None


def test_a_model_without_schema_is_refused_with_its_agent() -> None:
    with pytest.raises(SchemaError, match=r"agent 'shop' accepts\['order'\]: no schema can be derived"):
        SchemaRegistry(from_agents([spec_of({"order": threading_lock})]))


class threading_lock:  # noqa: N801 - named after what people try to send
    def __init__(self, lock: Any) -> None:
        self.lock = lock


def test_a_model_for_many_types_is_refused_with_its_agent() -> None:
    with pytest.raises(SchemaError, match=r"agent 'shop' accepts\['order\.\*'\]: 'order\.\*' names no schema"):
        SchemaRegistry(from_agents([spec_of({"order.*": Struct})]))


def test_two_agents_may_share_a_model_and_not_a_name() -> None:
    one, other = spec_of({"order": Struct}), spec_of({"order": Struct})
    SchemaRegistry(from_agents([one, other]))
    with pytest.raises(NexusError, match="is defined differently"):
        SchemaRegistry(from_agents([one, spec_of({"order": Line})]))


# --- rows ---


def test_rows_of_the_database() -> None:
    row = {"type": "order", "version": 4, "document": {"type": "integer"}, "deprecated": True}
    schema = SchemaRegistry(from_rows([row])).require("order")
    assert (schema.key.version, schema.deprecated, schema.origin) == (4, True, "database, order version 4")
