"""The one place that turns an error into S3's answer.

Operations raise; `render` looks the code up and writes the document. What no table knows is our own
fault: InternalError, without a word of what it was. Whoever calls `render` logs that, once.
"""

import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.errors import FileFluxError
from fileflux.ingest.auth_errors import S3RequestError
from fileflux.ingest.error_table import ERRORS
from fileflux.ingest.xml_text import document, element, key_text

RETRY_AFTER_S: Final = 1
"""Overload passes in seconds; clients back off from here by themselves."""
NOT_APPLIED: Final = frozenset(("Aborted", "Expired", "SourceChanged"))
"""Outcomes that are no S3 codes: nothing was written, the same request may succeed later."""
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_BUCKET_ERRORS: Final = frozenset(
    (
        "BucketAlreadyExists",
        "BucketAlreadyOwnedByYou",
        "BucketNotEmpty",
        "InvalidBucketName",
        "NoSuchBucket",
    )
)


class S3Error(Exception):
    """An answer that is an error. `extra`: further elements; `headers`: further HTTP headers.

    `code` is one of `ERRORS`, which has the status and a message for when none is given.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        extra: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        assert code in ERRORS, code
        default_status, default_message = ERRORS[code]
        self.code = code
        self.status = status or default_status
        self.message = message or default_message
        self.extra: dict[str, str] = dict(extra or {})
        self.headers: dict[str, str] = dict(headers or {})
        super().__init__(f"{code}: {self.message}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestNames:
    """What an error document names. `bucket` and `key` stay empty where the request has none."""

    method: str
    request_id: str
    host_id: str
    bucket: str = ""
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What goes over the wire. `headers` are in lower case; the server adds Content-Length."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def render(error: BaseException, names: RequestNames) -> ErrorAnswer:
    """Return the answer to a request that failed. HEAD has no body, so its status says it all."""
    known = s3_error(error)
    headers = {"content-type": "application/xml"}
    headers |= {name.lower(): _header_value(value) for name, value in known.headers.items()}
    if known.status == 401:
        headers["www-authenticate"] = 'Basic realm="FileFlux"'
    if known.status == 503:
        headers.setdefault("retry-after", str(RETRY_AFTER_S))
    body = b"" if names.method == "HEAD" else error_document(known, names)
    return ErrorAnswer(known.status, tuple(headers.items()), body)


def s3_error(error: BaseException) -> S3Error:
    """Return what a client may know of an exception; InternalError where that is nothing."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, S3RequestError):
        code = error.code if error.code in ERRORS else "InvalidRequest"
        return S3Error(code, error.message, extra=error.extra, status=error.status)
    if isinstance(error, FileFluxError) and error.code in ERRORS:
        return S3Error(error.code)
    return S3Error("InternalError")


def outcome_error(status: str, detail: str = "") -> S3Error:
    """Return the error that an outcome which is not `ok` stands for."""
    if status in NOT_APPLIED:
        return S3Error("SlowDown", "The write was not applied. Please try again.")
    if status in ERRORS:
        return S3Error(status, detail)
    return S3Error("InternalError")


def error_document(error: S3Error, names: RequestNames) -> bytes:
    """Return `<Error>…`, well-formed whatever the names are."""
    return document("Error", _elements(error, names), namespace="")


def new_request_id(rng: random.Random) -> str:
    """Return an id in the form of S3's, to find a request in our logs by."""
    return f"{rng.getrandbits(64):016X}"


def not_implemented_header(name: str) -> S3Error:
    """Return the refusal of a header whose meaning we would have to ignore."""
    message = f"A header you provided implies functionality that is not implemented: {name}"
    return S3Error("NotImplemented", message, extra={"Header": name})


def invalid_argument(message: str, name: str, value: str) -> S3Error:
    """Return InvalidArgument in S3's form; the value is cut, since it may be anything."""
    extra = {"ArgumentName": name, "ArgumentValue": value[:1024]}
    return S3Error("InvalidArgument", message, extra=extra)


def _elements(error: S3Error, names: RequestNames) -> Iterable[str]:
    yield element("Code", error.code)
    yield element("Message", error.message)
    for name, value in error.extra.items():
        assert _NAME.fullmatch(name), name
        yield element(name, value)
    if error.code == "NoSuchKey" and "Key" not in error.extra:
        yield f"<Key>{key_text(names.key)}</Key>"
    if error.code in _BUCKET_ERRORS and "BucketName" not in error.extra:
        yield element("BucketName", names.bucket)
    yield f"<Resource>{key_text(_resource(names))}</Resource>"
    yield element("RequestId", names.request_id)
    yield element("HostId", names.host_id)


def _resource(names: RequestNames) -> bytes:
    bucket = names.bucket.encode("utf-8", "surrogatepass")
    return b"/" + bucket + (b"/" + names.key if names.key else b"")


def _header_value(value: str) -> str:
    assert value.isascii(), value
    assert value.isprintable(), value
    return value
