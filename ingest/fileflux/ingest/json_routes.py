"""A table of JSON endpoints: what is asked for, what it takes, what it answers.

The same table routes requests and makes the OpenAPI document, so the two cannot differ. What comes
in is read against models: a field or parameter that a model does not have is refused.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from fileflux.core.model import KIB
from fileflux.ingest.call import Answer, Call
from fileflux.ingest.dependencies import Dependencies
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.problem import Problem, bad_request

JSON_BYTES_MAX: Final = 64 * KIB
JSON: Final = "application/json"
PROBLEMS_SHOWN_MAX: Final = 5


class Given(BaseModel):
    """What a client sends: only what is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoFields(Given):
    """Nothing: no body, or an empty object."""


class NoParameters(Given):
    """No query parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was read. `names`: of the path, by the template's words."""

    call: Call
    deps: Dependencies
    names: Mapping[str, str]
    query: Any
    body: Any


JsonHandler = Callable[[Asked], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRoute:
    """`path`: behind `/_fileflux/`, with `{word}` for one part of it. `refusals`: by status, why.

    `answer`: a model of what is answered.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: JsonHandler
    answer: type[BaseModel]
    status: int = 200
    query: type[Given] = NoParameters
    body: type[Given] | None = None
    refusals: Mapping[int, str] = field(default_factory=dict)


def find_route(routes: Sequence[JsonRoute], request: ParsedRequest) -> tuple[JsonRoute, Any]:
    """Return the route and the names of its path; raise Problem 404 or 405."""
    found = [
        (route, names)
        for route in routes
        if (names := _names(route.path, request.key.decode("utf-8", "replace"))) is not None
    ]
    for route, names in found:
        if route.method == request.method:
            return route, names
    if not found:
        raise Problem(404, "NoSuchEntity", "There is nothing of that name.")
    methods = ", ".join(sorted({route.method for route, _ in found}))
    raise Problem(405, "MethodNotAllowed", f"Here one can: {methods}.", {"allow": methods})


async def answer_json(route: JsonRoute, names: Mapping[str, str], call: Call, deps: Any) -> Answer:
    """Read the request, let the handler answer. Raises Problem, and what the handler raises."""
    asked = Asked(
        call=call,
        deps=deps,
        names=names,
        query=_query(route.query, call.request),
        body=await _body(route, call, deps),
    )
    answered = await route.handler(asked)
    headers = {"content-type": JSON, "cache-control": "no-store"}
    return Answer(route.status, headers, orjson.dumps(answered))


def _names(template: str, path: str) -> dict[str, str] | None:
    words, parts = template.split("/"), path.split("/")
    if len(words) != len(parts):
        return None
    names = {}
    for word, part in zip(words, parts, strict=True):
        if word.startswith("{") and part:
            names[word[1:-1]] = part
        elif word != part:
            return None
    return names


def _query(model: type[Given], request: ParsedRequest) -> Given:
    given = {
        name: request.param(name)
        for name, _ in request.query
        if not name.lower().startswith("x-amz-")  # A presigned URL's.
    }
    return _read(model, given, strict=False)


async def _body(route: JsonRoute, call: Call, deps: Dependencies) -> Given | None:
    raw = await call.small_body(deps.clock, JSON_BYTES_MAX)
    if route.body is None:
        if raw:
            raise bad_request("This request has no body.")
        return None
    if not raw:
        return _read(route.body, {}, strict=True)
    if call.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise Problem(415, "InvalidRequest", f"The body's content-type is {JSON}.")
    try:
        given = orjson.loads(raw)
    except ValueError:
        raise bad_request("The body is not JSON.") from None
    return _read(route.body, given, strict=True)


def _read(model: type[Given], given: Any, *, strict: bool) -> Given:
    try:
        return model.model_validate(given, strict=strict)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        lines = [_line(one["loc"], one["msg"]) for one in found[:PROBLEMS_SHOWN_MAX]]
        raise bad_request("; ".join(lines)) from None


def _line(where: Sequence[Any], what: str) -> str:
    name = ".".join(str(part)[:64] for part in where)
    return f"{name}: {what}" if name else what
