"""What of a request's headers is stored with an object, and what a GET or HEAD gives back.

Nothing that was stored, or that a URL asks for, can end a header or start another one: values with
controls are refused on their way in, and asserted on their way out.
"""

import re
from collections.abc import Mapping
from typing import Final

from fileflux.core.checksum import S3_ALGORITHMS, Algorithm
from fileflux.core.model import KIB, ObjectMeta
from fileflux.ingest import rfc2047
from fileflux.ingest.body_plan import checked_value, stored_content_encoding
from fileflux.ingest.conditions import Validators, http_date
from fileflux.ingest.header_policy import USER_PREFIX
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.payload_mode import CHECKSUM_HEADERS, checksum_header
from fileflux.ingest.s3_errors import S3Error, invalid_argument

METADATA_BYTES_MAX: Final = 2 * KIB
"""S3's limit, for the user's headers and again for the system's: both travel in a seal."""
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"
STORED: Final = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
)
OVERRIDES: Final[Mapping[str, str]] = {f"response-{name}": name for name in STORED}
"""Query parameter → header of the answer."""
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_ACTIVE_TYPE: Final = re.compile("html|xml|svg", re.IGNORECASE)


def stored_headers(headers: Mapping[str, str]) -> ObjectMeta:
    """Return what a PUT, copy or multipart upload stores; checksums come from the body.

    Raise MetadataTooLarge beyond 2 KiB of user metadata, names included, or of system metadata.
    """
    system = {name: headers[name] for name in STORED if headers.get(name)}
    if "content-encoding" in system:
        system["content-encoding"] = stored_content_encoding(headers) or ""
    for name, value in system.items():
        _check_value(name, value)
    user = {
        _user_name(name): rfc2047.decode(value)
        for name, value in headers.items()
        if name.startswith(USER_PREFIX)
    }
    _check_size(system)
    _check_size(user)
    return ObjectMeta(headers={name: value for name, value in system.items() if value}, user=user)


def response_overrides(request: ParsedRequest, *, is_signed: bool = True) -> dict[str, str]:
    """Return the headers that `response-…` parameters replace; strangers may not choose any."""
    chosen = {
        header: request.param(name) or "" for name, header in OVERRIDES.items() if request.has(name)
    }
    if chosen and not is_signed:
        message = "Request specific response headers cannot be used for anonymous GET requests."
        raise S3Error("InvalidRequest", message)
    for header, value in chosen.items():
        _check_value(f"response-{header}", value)
    return {header: value for header, value in chosen.items() if value}


def object_headers(
    meta: ObjectMeta,
    current: Validators,
    *,
    overrides: Mapping[str, str] | None = None,
    with_checksums: bool = False,
    parts_count: int | None = None,
) -> dict[str, str]:
    """Return the headers of a GET or HEAD but for Content-Length and Content-Range.

    `with_checksums`: the client asked for them (`wants_checksums`) and gets the whole object.
    `parts_count`: of a multipart object, when a part was asked for.
    """
    headers = {
        "accept-ranges": "bytes",
        "content-type": DEFAULT_CONTENT_TYPE,
        "etag": f'"{current.etag}"',
        "last-modified": http_date(current.modified_us),
        "x-content-type-options": "nosniff",
    }
    headers |= {name: meta.headers[name] for name in STORED if name in meta.headers}
    headers |= overrides or {}
    if _ACTIVE_TYPE.search(headers["content-type"]):
        # A stored page must not run as one of this origin's.
        headers["content-security-policy"] = "sandbox"
    headers |= {f"{USER_PREFIX}{name}": rfc2047.encode(value) for name, value in meta.user.items()}
    if with_checksums:
        headers |= checksum_headers(meta.checksums, meta.checksum_type)
    if parts_count is not None:
        headers["x-amz-mp-parts-count"] = str(parts_count)
    return checked_headers(headers)


def not_modified_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of `object_headers` that a 304 repeats (RFC 9110, 15.4.5)."""
    kept = ("cache-control", "etag", "expires", "last-modified")
    return {name: headers[name] for name in kept if name in headers}


def checksum_headers(checksums: Mapping[str, str], checksum_type: str) -> dict[str, str]:
    """Return stored checksums as headers, nothing if there are none."""
    if not checksums:
        return {}
    headers = {checksum_header(Algorithm(name)): value for name, value in checksums.items()}
    return {**headers, "x-amz-checksum-type": checksum_type or "FULL_OBJECT"}


def wants_checksums(headers: Mapping[str, str]) -> bool:
    """Return whether `x-amz-checksum-mode` asks for stored checksums."""
    return headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"


def multipart_checksum(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return (algorithm, type) that CreateMultipartUpload chooses; empty where it does not."""
    algorithm = headers.get("x-amz-checksum-algorithm", "").upper()
    if algorithm and algorithm not in S3_ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    kind = checksum_type(headers)
    if kind and not algorithm:
        message = "The x-amz-checksum-type header can only be used with x-amz-checksum-algorithm."
        raise S3Error("InvalidRequest", message)
    needs_full = algorithm == Algorithm.CRC64NVME
    cannot_full = algorithm in (Algorithm.SHA1, Algorithm.SHA256)
    if (kind == "COMPOSITE" and needs_full) or (kind == "FULL_OBJECT" and cannot_full):
        message = f"The {kind} checksum type cannot be used with the {algorithm} algorithm."
        raise S3Error("InvalidRequest", message)
    default = "FULL_OBJECT" if needs_full else "COMPOSITE"
    return algorithm, (kind or default) if algorithm else ""


def checksum_type(headers: Mapping[str, str]) -> str:
    """Return `x-amz-checksum-type`, empty if not given."""
    kind = headers.get("x-amz-checksum-type", "").upper()
    if kind not in ("", "COMPOSITE", "FULL_OBJECT"):
        raise invalid_argument("No such checksum type.", "x-amz-checksum-type", kind)
    return kind


def claimed_checksums(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what CompleteMultipartUpload claims of the whole object: algorithm → base64.

    A composite one ends in the number of parts: `…==-3`.
    """
    claimed = {}
    for name, algorithm in CHECKSUM_HEADERS.items():
        if name in headers:
            checked_value(algorithm, headers[name].partition("-")[0])
            claimed[str(algorithm)] = headers[name]
    return claimed


def checked_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers that cannot end early; it is our bug if these do."""
    for name, value in headers.items():
        assert _TOKEN.fullmatch(name), name
        assert _is_header_value(value), name
    return headers


def _user_name(header: str) -> str:
    name = header.removeprefix(USER_PREFIX)
    if not _TOKEN.fullmatch(name):
        raise invalid_argument("Not a name for metadata.", "x-amz-meta-", name)
    return name


def _check_size(entries: Mapping[str, str]) -> None:
    size = sum(len(name) + len(value.encode("utf-8")) for name, value in entries.items())
    if size > METADATA_BYTES_MAX:
        sizes = {"Size": str(size), "MaxSizeAllowed": str(METADATA_BYTES_MAX)}
        raise S3Error("MetadataTooLarge", extra=sizes)


def _check_value(name: str, value: str) -> None:
    if not _is_header_value(value):
        message = "Header value cannot be represented using ISO-8859-1."
        raise invalid_argument(message, name, value)


def _is_header_value(value: str) -> bool:
    """Tell whether a header can carry it: Latin-1, no controls but the tab."""
    return all(char == "\t" or " " <= char <= "~" or "\x80" <= char <= "\xff" for char in value)
