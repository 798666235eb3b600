"""The OpenAPI 3.1 document of the JSON endpoints, made from the table that routes them.

Served at `GET /_fileflux/openapi.json` to everybody: it says what there is, not what is stored.
`docs/reference/webhooks-openapi.json` is the same document.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from fileflux.ingest.call import Answer
from fileflux.ingest.json_routes import JSON, Given, JsonRoute
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.problem import PROBLEM
from fileflux.ingest.respond_async import STATUS_BUCKET
from fileflux.ingest.webhook_routes import ROUTES

KEY: Final = b"openapi.json"
VERSION: Final = "1"
_REFERENCE: Final = "#/components/schemas/{model}"
_DESCRIPTION: Final = (
    "What `fileflux webhook` does, over HTTP: for each user its own buckets, for root all. Errors "
    "are problem details (RFC 9457). Deliveries are signed by Standard Webhooks."
)
_ALWAYS: Final = {
    400: "The request cannot be understood; `detail` says why.",
    401: "Name or password is wrong.",
    403: "Nothing says who asks, or its signature is wrong.",
    503: "Not now; `Retry-After` says when to come back.",
}
_PROBLEM: Final = {
    "type": "object",
    "description": "RFC 9457. `code` is the error's name, S3's where S3 has one.",
    "required": ["type", "title", "status", "detail", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


def is_asked(request: ParsedRequest) -> bool:
    """Tell whether a request is for the document."""
    is_read = request.method in ("GET", "HEAD")
    return is_read and request.bucket == STATUS_BUCKET and request.key == KEY


def answer() -> Answer:
    """Answer the document."""
    return Answer(200, {"content-type": JSON}, render().encode())


@cache
def render() -> str:
    """Return the document as text, as it is committed."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2).decode() + "\n"


def document() -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(f"/_fileflux/{route.path}", {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FileFlux webhooks", "version": VERSION, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "security": [{"basic": []}, {"signature": []}],
        "paths": paths,
        "components": {
            "schemas": {**_schemas(), "Problem": _PROBLEM},
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, service s3.",
                },
            },
        },
    }


def _operation(route: JsonRoute) -> dict[str, Any]:
    given = {} if route.body is None else {"requestBody": _body(route.body)}
    return {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_of_path(route), *_of_query(route.query)],
        **given,
        "responses": {
            str(route.status): _response(HTTPStatus(route.status).phrase, JSON, route.answer),
            **{str(status): _refusal(why) for status, why in _refusals(route).items()},
        },
    }


def _refusals(route: JsonRoute) -> Mapping[int, str]:
    of_body = {} if route.body is None else {415: f"The body's content-type is not {JSON}."}
    whole = {**_ALWAYS, **of_body}
    own = {
        status: f"{whole[status]} {why}" if status in whole else why
        for status, why in route.refusals.items()
    }
    return dict(sorted({**whole, **own}.items()))


def _refusal(why: str) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model="Problem")}
    return {"description": why, "content": {PROBLEM: {"schema": schema}}}


def _response(description: str, media: str, model: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": {media: {"schema": _reference(model)}}}


def _body(model: type[Given]) -> dict[str, Any]:
    is_needed = any(field.is_required() for field in model.model_fields.values())
    return {"required": is_needed, "content": {JSON: {"schema": _reference(model)}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _of_path(route: JsonRoute) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _of_query(model: type[Given]) -> Iterator[dict[str, Any]]:
    for name, schema in model.model_json_schema().get("properties", {}).items():
        yield {"name": name, "in": "query", "required": False, "schema": schema}


def _schemas() -> dict[str, Any]:
    models: dict[type[BaseModel], None] = {}
    for route in ROUTES:
        models.update(dict.fromkeys([route.answer, *([route.body] if route.body else [])]))
    _, made = models_json_schema(
        [(model, "validation") for model in models], ref_template=_REFERENCE
    )
    found: dict[str, Any] = made["$defs"]
    return dict(sorted(found.items()))
