"""The OpenAPI document is well formed: names that exist, schemas that are schemas, all of it said.

That it is what the code says is in `test_reference_pages.py`; that answers are what it says, beside
the handlers.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema

ROOT: Final = Path(__file__).parents[2]
DOCUMENT: Final[dict[str, Any]] = json.loads(
    (ROOT / "docs/reference/webhooks-openapi.json").read_text()
)
SCHEMAS: Final[dict[str, Any]] = DOCUMENT["components"]["schemas"]


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            yield path, operation


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_document_has_what_openapi_3_1_asks_for() -> None:
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT["info"].keys() >= {"title", "version"}
    names = [operation["operationId"] for _, operation in operations()]
    assert len(names) == len(set(names)) > 15
    for _, operation in operations():
        assert all(one["description"] for one in operation["responses"].values())
        assert any(status.startswith("2") for status in operation["responses"])


def test_every_reference_leads_to_a_schema_and_every_schema_is_used() -> None:
    found = set(references(DOCUMENT))
    assert found == {f"#/components/schemas/{name}" for name in SCHEMAS}


def test_every_word_of_a_path_is_a_parameter_of_it() -> None:
    for path, operation in operations():
        given = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert given == set(re.findall(r"\{(\w+)\}", path)), path


def test_every_schema_is_one_by_json_schema_2020_12() -> None:
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for _, operation in operations():
        for parameter in operation["parameters"]:
            jsonschema.Draft202012Validator.check_schema(parameter["schema"])


def test_every_error_is_a_problem() -> None:
    for path, operation in operations():
        for status, response in operation["responses"].items():
            if not status.startswith("2"):
                assert list(response["content"]) == ["application/problem+json"], (path, status)
