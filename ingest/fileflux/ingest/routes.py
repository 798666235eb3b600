"""A parsed request → the S3 operation it asks for, and nothing else.

The path says what is named, the method what is done to it; then one query parameter, a
sub-resource, may change the meaning altogether. So a sub-resource that nobody knows is refused
rather than passed over, and so is every parameter of a write that its operation does not have.
Path style and virtual-host style look the same here: `parsed_request` has settled bucket and key.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from fileflux.ingest.operations import OPERATIONS, Level, Operation
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.s3_errors import S3Error, invalid_argument

COMPANIONS: Final = frozenset(("annotationName", "id", "list-type", "partNumber", "select-type"))
"""Selectors that mean something only beside a sub-resource, or to one operation."""
SUBRESOURCES: Final = frozenset(s for each in OPERATIONS for s in each.selectors) - COMPANIONS
READ_PARAMETERS: Final = frozenset(
    (
        "bucket-region",
        "continuation-token",
        "delimiter",
        "encoding-type",
        "fetch-owner",
        "key-marker",
        "marker",
        "max-buckets",
        "max-keys",
        "max-parts",
        "max-uploads",
        "part-number-marker",
        "prefix",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "start-after",
        "upload-id-marker",
        "version-id-marker",
        "versionId",
        "x-id",
        *COMPANIONS,
    )
)
"""What a read may be told besides. `x-id` is the operation's name, for the client's own logs."""
WRITE_PARAMETERS: Final = frozenset(("x-id",))
READS: Final = frozenset(("GET", "HEAD"))

_Place = tuple[Level, frozenset[str]]
_Index = dict[_Place, dict[str, list[Operation]]]


def _index() -> _Index:
    index: _Index = defaultdict(dict)
    for each in sorted(OPERATIONS, key=_specificity, reverse=True):
        place = (each.level, frozenset(each.selectors) & SUBRESOURCES)
        index[place].setdefault(each.method, []).append(each)
    return dict(index)


def _specificity(operation: Operation) -> int:
    return len(operation.selectors) + bool(operation.header)


_INDEX: Final = _index()


def route(request: ParsedRequest) -> Operation:
    """Return the operation, implemented or not; raise S3Error if there is no such thing."""
    level = _level(request)
    names = {name for name, _ in request.query}
    asked = frozenset() if request.method == "OPTIONS" else _subresource(request, names)
    operation = _find(request, (level, asked), names)
    _check_parameters(request, operation)
    return operation


def check_implemented(operation: Operation) -> None:
    """Raise NotImplemented, by the operation's name, for one that FileFlux lacks."""
    if not operation.is_implemented:
        message = f"The operation {operation.name} is not implemented."
        raise S3Error("NotImplemented", message, extra={"Operation": operation.name})


def _level(request: ParsedRequest) -> Level:
    if request.bucket:
        return Level.OBJECT if request.key else Level.BUCKET
    if request.key:
        raise S3Error("InvalidURI")
    return Level.SERVICE


def _subresource(request: ParsedRequest, names: set[str]) -> frozenset[str]:
    found = sorted(names & SUBRESOURCES)
    if len(found) > 1:
        message = f"Conflicting query string parameters: {', '.join(found)}"
        raise invalid_argument(message, "ResourceType", found[0])
    if not found:
        _refuse_unknown(request.query)
    return frozenset(found)


def _refuse_unknown(query: Iterable[tuple[str, str]]) -> None:
    # A parameter without a value is how S3 spells a sub-resource; ours may be older than it.
    for name, value in query:
        if not value and name not in READ_PARAMETERS and not _is_signed_header(name):
            raise _unknown_parameter(name)


def _find(request: ParsedRequest, place: _Place, names: set[str]) -> Operation:
    methods = _INDEX.get(place)
    if methods is None:
        raise _no_such_subresource(place)
    candidates = methods.get(request.method)
    if candidates is None:
        raise _method_not_allowed(request.method, place, methods)
    for each in candidates:
        if names.issuperset(each.selectors) and (not each.header or each.header in request.headers):
            return each
    missing = next(s for s in candidates[-1].selectors if s not in names)
    raise invalid_argument(f"This operation needs the parameter '{missing}'.", missing, "")


def _check_parameters(request: ParsedRequest, operation: Operation) -> None:
    if operation.name == "ListObjectsV2" and request.param("list-type") != "2":
        message = "Invalid List Type specified in Request"
        raise invalid_argument(message, "list-type", request.param("list-type") or "")
    if request.method in READS or not operation.is_implemented:
        return
    for name, _ in request.query:
        if name not in operation.selectors and not _is_write_parameter(name, request.method):
            raise _unknown_parameter(name)


def _is_write_parameter(name: str, method: str) -> bool:
    if name == "versionId":
        return method == "DELETE"
    return name in WRITE_PARAMETERS or _is_signed_header(name)


def _is_signed_header(name: str) -> bool:
    """Parameters of a presigned URL, and headers that its maker moved into it."""
    return name[:6].lower() == "x-amz-"


def _unknown_parameter(name: str) -> S3Error:
    message = f"A query parameter you provided is not implemented by this operation: {name[:100]}"
    return S3Error("NotImplemented", message, extra={"QueryParameter": name[:100]})


def _no_such_subresource(place: _Place) -> S3Error:
    level, asked = place
    noun = {Level.OBJECT: "key"}.get(level, str(level))
    message = f"There is no such thing as the ?{''.join(asked)} sub-resource for a {noun}"
    return S3Error("InvalidRequest", message)


def _method_not_allowed(method: str, place: _Place, methods: Iterable[str]) -> S3Error:
    level, asked = place
    kind = "".join(asked) or str(level)
    extra = {"Method": method[:20], "ResourceType": kind.upper()}
    return S3Error("MethodNotAllowed", extra=extra, headers={"Allow": ", ".join(sorted(methods))})
