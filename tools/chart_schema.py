"""values.schema.json of the chart, made from values.yaml and the settings classes.

    python -m tools.chart_schema          writes helm/fileflux/values.schema.json

A comment above a key becomes its description, the default its type; `@schema {…}` in the comment
adds what else holds. Nothing else may stand in a values file: a misspelt key or setting is refused.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

from fileflux.console.settings_reference import descriptions, service_settings
from fileflux.core.settings import CommonSettings

CHART: Final = Path(__file__).parents[1] / "helm/fileflux"
VALUES: Final = CHART / "values.yaml"
SCHEMA: Final = CHART / "values.schema.json"

CLASSES: Final = {
    "ingest": "ingest",
    "placement": "placement",
    "materializer": "metadata materializer",
    "sequencer": "metadata sequencer",
    "archiver": "metadata archiver",
    "webhooks": "webhooks",
    "storageNode": "storage_node",
    "migrate": "metadata",
}
"""Key in values.yaml → name of the settings class in docs/reference/settings.md."""

MANAGED: Final = {
    *("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"),
    *("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD", "KAFKA_CA_FILE"),
    *("FILEFLUX_LANES", "FILEFLUX_SLOTS", "FILEFLUX_LOG_FORMAT", "FILEFLUX_LOG_LEVEL"),
    *("FILEFLUX_OPS_HOST", "FILEFLUX_OPS_PORT", "FILEFLUX_CLUSTER_SECRET", "DATABASE_URL"),
    *("FILEFLUX_CLASSES", "FILEFLUX_DEFAULT_CLASS", "FILEFLUX_MASTER_KEY"),
    *("FILEFLUX_ROOT_ACCESS_KEY", "FILEFLUX_ROOT_SECRET_KEY"),
    *("FILEFLUX_INGEST_HOST", "FILEFLUX_INGEST_PORT", "FILEFLUX_INGEST_INTERNAL_PORT"),
    *("FILEFLUX_INGEST_ADVERTISED_URL", "FILEFLUX_INGEST_METRICS_PORT"),
    *("FILEFLUX_INGEST_DRAIN_S", "FILEFLUX_INGEST_STOP_TIMEOUT_S"),
    *("FILEFLUX_INGEST_WORKERS", "FILEFLUX_INGEST_DOMAINS"),
    *("FILEFLUX_INGEST_TLS_CERT", "FILEFLUX_INGEST_TLS_KEY"),
    *("FILEFLUX_INGEST_STAGING", "FILEFLUX_INGEST_STAGING_DIR", "FILEFLUX_INGEST_STAGING_BYTES"),
    *("FILEFLUX_INGEST_STAGING_DURABLE", "FILEFLUX_INGEST_STAGING_S3_BUCKET"),
    *("FILEFLUX_INGEST_STAGING_S3_ENDPOINT", "FILEFLUX_INGEST_STAGING_S3_REGION"),
    *("FILEFLUX_ARCHIVE_URL", "FILEFLUX_ARCHIVE_ENDPOINT", "FILEFLUX_ARCHIVE_REGION"),
    *("FILEFLUX_ARCHIVE_ACCESS_KEY", "FILEFLUX_ARCHIVE_SECRET_KEY", "FILEFLUX_ARCHIVE_KEEP_S"),
    *("FILEFLUX_AUDIT_KEY_FILE", "FILEFLUX_PLACEMENT_DATA_DIR"),
    *("FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS", "FILEFLUX_WEBHOOKS_ALLOW_HTTP"),
    *("FILEFLUX_NODE_DATA_DIR", "FILEFLUX_NODE_HOST", "FILEFLUX_NODE_PORT"),
    *("FILEFLUX_NODE_ADVERTISED_URL", "FILEFLUX_NODE_DOMAIN", "FILEFLUX_NODE_BACKEND"),
    *("FILEFLUX_NODE_POOL", "FILEFLUX_NODE_DATASET"),
    *("FILEFLUX_NODE_EXPORTER_HOST", "FILEFLUX_NODE_EXPORTER_PORT"),
}
"""Variables that templates set from other values; all others may be given as `settings`."""

_TYPES: Final[Mapping[type, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_DEFINITIONS: Final[Mapping[str, Any]] = {
    "quantity": {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?([kMGTPE]i?|m)?$"},
    "resources": {
        "type": "object",
        "required": ["requests", "limits"],
        "properties": {"requests": _TEXTS, "limits": _TEXTS},
        "additionalProperties": False,
    },
    "env": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {
                "type": "string",
                "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
                "not": {"pattern": "^(FILEFLUX_|KAFKA_|DATABASE_URL$)"},
            },
            "value": {"type": "string"},
            "valueFrom": {"type": "object"},
        },
        "additionalProperties": False,
    },
}


def render() -> str:
    """Return the schema as text."""
    text = VALUES.read_text()
    root = yaml.compose(text)
    schema = _object(root, text.splitlines(), ())
    schema["properties"]["global"] = {"type": "object"}
    settings = {f"settings-{key}": settings_schema(key) for key in CLASSES}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart fileflux",
        **schema,
        "$defs": {**_DEFINITIONS, **settings},
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def settings_schema(key: str) -> dict[str, Any]:
    """Return what may stand in `KEY.settings`: the class's variables that nothing else sets."""
    cls = dict(service_settings())[CLASSES[key]]
    properties = {
        str(info.alias): _setting(info, meaning)
        for name, info, meaning in _fields(cls)
        if info.alias not in MANAGED
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _fields(cls: type[CommonSettings]) -> Iterator[tuple[str, FieldInfo, str]]:
    meanings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, CommonSettings):
            meanings.update(descriptions(base))
    for name, info in cls.model_fields.items():
        yield name, info, meanings.get(name, "")


def _setting(info: FieldInfo, meaning: str) -> dict[str, Any]:
    annotation = info.annotation
    if get_origin(annotation) is Literal:
        return {"enum": list(get_args(annotation)), "description": meaning}
    kind = _TYPES.get(annotation, "string") if isinstance(annotation, type) else "string"
    rules: dict[str, Any] = {"type": kind, "description": meaning}
    names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "min_length": "minLength"}
    for rule in info.metadata:
        for attribute, name in names.items():
            if (bound := getattr(rule, attribute, None)) is not None:
                rules[name] = bound
    return rules


def _object(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...]) -> dict[str, Any]:
    properties = {}
    for key_node, value_node in node.value:
        meaning, extra = comment_above(lines, key_node.start_mark.line)
        inner = _value(value_node, lines, (*path, key_node.value))
        if "$ref" in extra or "additionalProperties" in extra:
            inner = {}
        properties[key_node.value] = {**_described(meaning), **inner, **extra}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(node: yaml.Node, lines: list[str], path: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(node, yaml.MappingNode):
        if path[-1] == "settings":
            return {"$ref": f"#/$defs/settings-{path[0]}"}
        return _object(node, lines, path) if node.value else dict(_TEXTS)
    value = yaml.safe_load(yaml.serialize(node))
    return {"type": "array"} if isinstance(value, list) else {"type": _TYPES[type(value)]}


def comment_above(lines: list[str], at: int) -> tuple[str, dict[str, Any]]:
    """Return the words of the comment that ends right above line `at`, and its `@schema`."""
    first = at
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    text = " ".join(line.strip().removeprefix("#").strip() for line in lines[first:at])
    words, _, extra = re.sub(r"\s+", " ", text).partition("@schema ")
    return words.strip(), json.loads(extra) if extra else {}


def _described(meaning: str) -> dict[str, str]:
    return {"description": meaning} if meaning else {}


if __name__ == "__main__":
    SCHEMA.write_text(render())
    sys.stdout.write(f"{SCHEMA}\n")
