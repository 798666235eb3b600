"""Whether a manifest is one that Kubernetes, or the operator that it is meant for, would take.

Stricter than the API server's own check in one thing: a field that the definition does not know is
a problem here, while a server without `fieldValidation=Strict` drops it silently. Rules written in
CEL are not evaluated; `test_api_server.py` asks a real server.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from tools.kube_schemas import definitions_dir

WRITTEN_HERE: Final = Path(__file__).parent / "definitions"
"""For what publishes no module that can be had."""
Schema = dict[str, Any]


def problems(manifest: dict[str, Any]) -> list[str]:
    """Return what is wrong, each as `path: sentence`; an unknown kind is a problem too."""
    version, kind = str(manifest.get("apiVersion")), str(manifest.get("kind"))
    validator = _validator(version, kind)
    if validator is None:
        return [f"{version} {kind}: nobody defines this kind"]
    found = sorted(validator.iter_errors(manifest), key=lambda error: list(map(str, error.path)))
    return [f"{_place(error)}: {error.message[:300]}" for error in found]


def is_namespaced(version: str, kind: str) -> bool:
    """Whether objects of the kind live in a namespace. Raises KeyError for an unknown kind."""
    definition = _definition(version, kind)
    if definition is not None:
        return bool(definition["spec"]["scope"] == "Namespaced")
    paths = _openapi(version)["paths"]
    for path, item in paths.items():
        for operation in item.values():
            if isinstance(operation, dict) and _is_of(operation, kind) and "post" in item:
                return "{namespace}" in path
    raise KeyError(f"{version} {kind}")


def _is_of(operation: dict[str, Any], kind: str) -> bool:
    return bool(operation.get("x-kubernetes-group-version-kind", {}).get("kind") == kind)


def _place(error: ValidationError) -> str:
    return ".".join(map(str, error.absolute_path)) or "the manifest"


@cache
def _validator(version: str, kind: str) -> Draft202012Validator | None:
    definition = _definition(version, kind)
    if definition is not None:
        return Draft202012Validator(_schema_of(definition, version))
    if not _openapi_path(version).exists():
        return None
    document = _openapi(version)
    for name, schema in document["components"]["schemas"].items():
        kinds = schema.get("x-kubernetes-group-version-kind", [])
        if any(one["kind"] == kind and _version_of(one) == version for one in kinds):
            resource: Resource[Any] = DRAFT202012.create_resource(document)
            registry: Registry[Any] = Registry().with_resource("urn:openapi", resource)
            reference = {"$ref": f"urn:openapi#/components/schemas/{name}"}
            return Draft202012Validator(reference, registry=registry)
    return None


def _version_of(one: dict[str, str]) -> str:
    return "/".join(filter(None, (one["group"], one["version"])))


def _schema_of(definition: Schema, version: str) -> Schema:
    number = version.rpartition("/")[2]
    versions = definition["spec"]["versions"]
    served = next(one for one in versions if one["name"] == number)
    schema: Schema = deepcopy(served["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}  # A CRD leaves it to the server.
    for common in ("apiVersion", "kind"):
        schema["properties"].setdefault(common, {"type": "string"})
    return {**_strict(schema)}


def _strict(schema: Any) -> Any:
    """The same schema in JSON Schema's words, and closed to unknown fields."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict_part(key, value) for key, value in schema.items()}
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    keeps = made.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(made.get("properties"), dict) and not keeps:
        made.setdefault("additionalProperties", False)
    if made.pop("nullable", False) and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


def _strict_part(key: str, value: Any) -> Any:
    """Below `properties` the keys are names of fields, not words of the schema."""
    if key == "properties":
        return {name: _strict(schema) for name, schema in value.items()}
    # What only adds conditions to the fields named beside it must not be closed.
    if key in ("default", "enum", "example", "anyOf", "oneOf", "allOf", "not"):
        return (
            value if key != "allOf" else [_strict(one) for one in value if "$ref" in one] or value
        )
    return _strict(value)


@cache
def _openapi(version: str) -> Schema:
    document = json.loads(_openapi_path(version).read_text())
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {name: _strict(one) for name, one in schemas.items()}
    return dict(document)


def _openapi_path(version: str) -> Path:
    name = f"apis__{version.replace('/', '__')}" if "/" in version else f"api__{version}"
    return definitions_dir() / "kubernetes" / f"{name}_openapi.json"


@cache
def _definition(version: str, kind: str) -> Schema | None:
    """The CustomResourceDefinition that serves this version of this kind."""
    group, _, number = version.rpartition("/")
    for definition in _definitions_of(kind):
        spec = definition["spec"]
        served = {one["name"] for one in spec["versions"]}
        if (spec["group"], spec["names"]["kind"]) == (group, kind) and number in served:
            return definition
    return None


@cache
def _definitions_of(kind: str) -> tuple[Schema, ...]:
    """Reading all of them takes seconds, and most tests ask for one."""
    return tuple(definitions(f"kind: {kind}\n"))


def definitions(containing: str = "") -> Iterator[Schema]:
    """Yield every CustomResourceDefinition that there is, published ones and ours."""
    folders = [folder for folder in definitions_dir().iterdir() if folder.name != "kubernetes"]
    for folder in (*folders, WRITTEN_HERE):
        for path in sorted(folder.glob("*.yaml")):
            for text in re.split(r"(?m)^---$", path.read_text()):
                document = yaml.load(text, Loader=_Loader) if containing in text else None  # noqa: S506
                if document and document["kind"] == "CustomResourceDefinition":
                    yield document


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]  # PyYAML is untyped.
    """YAML 1.1 has a type for `=`, which Prometheus' definitions have among their values."""


_Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: str(node.value))
