"""The published schemas and the AsyncAPI document are whole, valid, and say what is there."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from fileflux.console.asyncapi import asyncapi
from fileflux.console.event_schemas import SCHEMAS, files
from fileflux.events.topics import all_topics
from fileflux.events.wire import EVENT_KINDS

ROOT: Final = Path(__file__).parents[2]
REFERENCE: Final = ROOT / "docs" / "reference"
META: Final = ROOT / "tests" / "fixtures" / "asyncapi_v3.0.0.json.gz"


def meta_schema_problems(document: Any) -> list[str]:
    """What AsyncAPI's own schema says of a document."""
    found = Draft7Validator(json.loads(gzip.decompress(META.read_bytes()))).iter_errors(document)
    return [f"{'/'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in found]


def test_the_document_is_valid_by_asyncapis_own_schema() -> None:
    assert meta_schema_problems(asyncapi()) == []
    broken = asyncapi()
    broken["channels"]["audit"]["bindings"]["kafka"]["partitions"] = 0
    assert meta_schema_problems(broken), "the check can fail"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolves(document: Any, reference: str) -> bool:
    path, _, pointer = reference.partition("#")
    place = json.loads((REFERENCE / path).read_text()) if path else document
    for step in pointer.split("/")[1:]:
        if step not in place:
            return False
        place = place[step]
    return True


@pytest.mark.parametrize("name", ["asyncapi.json", *(f"schemas/{name}" for name in files())])
def test_every_reference_leads_somewhere(name: str) -> None:
    document = json.loads((REFERENCE / name).read_text())
    assert [one for one in references(document) if not resolves(document, one)] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_one_of_json_schema_2020_12(name: str) -> None:
    schema = SCHEMAS[name]()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_every_topic_and_every_event_is_in_the_document() -> None:
    """Dead letters are records of those topics; nobody but the console reads them."""
    document = asyncapi()
    addresses = {one["address"] for one in document["channels"].values()}
    topics = {one.name for one in all_topics() if not one.name.endswith(".dead-letter")}
    assert topics <= addresses
    messages = document["components"]["messages"]
    assert {kind.__name__ for kind in EVENT_KINDS.values()} <= set(messages)
    used = {name for one in document["channels"].values() for name in one["messages"]}
    assert used == set(messages), "a message that nothing carries"


def test_what_is_private_is_marked_and_nothing_else() -> None:
    document = asyncapi()
    internal = {n for n, one in document["components"]["messages"].items() if "x-internal" in one}
    assert internal == {kind.__name__ for kind in EVENT_KINDS.values()}
    for one in document["channels"].values():
        assert ("x-internal" in one) == (set(one["messages"]) <= internal)


def test_no_schema_file_is_left_over() -> None:
    assert {path.name for path in (REFERENCE / "schemas").iterdir()} == set(files())
