"""values.yaml explains itself, and its schema is made of it."""

import json
from typing import Any

import yaml
from tests.deploy.chart.matrix import CHART
from tools.chart_schema import SCHEMA, VALUES, comment_above, render


def test_the_schema_is_made_from_values_and_settings_of_today() -> None:
    """Run `python -m tools.chart_schema` after a change of either."""
    assert SCHEMA.read_text() == render()


def test_every_value_is_explained() -> None:
    lines = VALUES.read_text().splitlines()
    silent = [
        ".".join(path)
        for path, line in _keys(yaml.compose(VALUES.read_text()), ())
        if not comment_above(lines, line)[0]
    ]
    assert silent == []


def test_nothing_is_left_open_in_the_schema() -> None:
    """But maps of labels and annotations, and what Kubernetes itself defines."""
    schema = json.loads(SCHEMA.read_text())
    assert list(_open(schema, "")) == ["/properties/global", "/$defs/env/properties/valueFrom"]


def test_every_file_of_values_says_what_it_is_for() -> None:
    silent = [
        path.name for path in CHART.glob("values*.yaml") if not path.read_text().startswith("# ")
    ]
    assert silent == []


def _keys(node: yaml.Node, path: tuple[str, ...]) -> Any:
    """Every key of block mappings, with its line; flow mappings stand under one comment."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and path[-1:] != ("resources",):
        for key, value in node.value:
            yield (*path, key.value), key.start_mark.line
            yield from _keys(value, (*path, key.value))


def _open(schema: Any, place: str) -> Any:
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            items = place.endswith("/items")
            if not items:
                yield place
        for key, inner in schema.items():
            yield from _open(inner, f"{place}/{key}")
