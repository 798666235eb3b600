"""What a listing asks for, its opaque tokens, and the plain model of what a page holds. Pure.

`page` is the meaning of a listing, written for reading and not for speed: the database's listing
and the in-memory one are tested against it.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fileflux.core.ids import UploadId
from fileflux.core.model import PARTS_MAX
from fileflux.ingest.names import parse_upload_id
from fileflux.ingest.parsed_request import ParsedRequest
from fileflux.ingest.s3_errors import S3Error, invalid_argument

KEYS_MAX: Final = 1000
"""S3's page. Asking for more gives as many."""
BUCKETS_MAX: Final = 10_000
TOKEN_VERSION: Final = b"\x01"
_DIGEST_SIZE: Final = 8
_INTEGER: Final = re.compile("-?[0-9]{1,10}")
_INTEGER_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """A page of objects that is asked for, by version 1 or 2 of the operation.

    `after`: where the page begins, behind that key; the rest is echoed in the answer.
    """

    version: int
    prefix: bytes
    delimiter: bytes
    after: bytes
    max_keys: int
    is_url_encoded: bool
    marker: bytes = b""
    start_after: bytes | None = None
    token: str | None = None
    fetch_owner: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadsQuery:
    """A page of multipart uploads: those after (`key_marker`, `upload_after`)."""

    prefix: bytes
    delimiter: bytes
    key_marker: bytes
    upload_marker: str
    upload_after: UploadId
    max_uploads: int
    is_url_encoded: bool


@dataclass(frozen=True, slots=True)
class BucketsQuery:
    """A page of the caller's buckets: those after `after`. `region`: only those in it, if given."""

    prefix: str = ""
    after: str = ""
    max_buckets: int = BUCKETS_MAX
    region: str = ""


@dataclass(frozen=True, slots=True)
class PartsQuery:
    """A page of parts: those with numbers above `after`."""

    after: int
    max_parts: int


def list_query_v1(request: ParsedRequest) -> ListQuery:
    marker = _bytes(request, "marker")
    return ListQuery(
        version=1,
        prefix=_bytes(request, "prefix"),
        delimiter=_bytes(request, "delimiter"),
        after=marker,
        max_keys=bounded(request, "max-keys", KEYS_MAX),
        is_url_encoded=_is_url_encoded(request),
        marker=marker,
    )


def list_query_v2(request: ParsedRequest) -> ListQuery:
    """A token goes before `start-after`, which is for the first page only."""
    token = request.param("continuation-token")
    start_after = request.param("start-after")
    start = (start_after or "").encode("utf-8")
    return ListQuery(
        version=2,
        prefix=_bytes(request, "prefix"),
        delimiter=_bytes(request, "delimiter"),
        after=start if token is None else decode_token(token),
        max_keys=bounded(request, "max-keys", KEYS_MAX),
        is_url_encoded=_is_url_encoded(request),
        start_after=start if start_after is not None else None,
        token=token,
        fetch_owner=(request.param("fetch-owner") or "").lower() == "true",
    )


def uploads_query(request: ParsedRequest) -> UploadsQuery:
    """An upload marker means something beside a key marker only, as in S3."""
    key_marker = _bytes(request, "key-marker")
    upload_marker = (request.param("upload-id-marker") or "") if key_marker else ""
    return UploadsQuery(
        prefix=_bytes(request, "prefix"),
        delimiter=_bytes(request, "delimiter"),
        key_marker=key_marker,
        upload_marker=upload_marker,
        upload_after=_upload_after(upload_marker),
        max_uploads=bounded(request, "max-uploads", KEYS_MAX),
        is_url_encoded=_is_url_encoded(request),
    )


def buckets_query(request: ParsedRequest) -> BucketsQuery:
    token = request.param("continuation-token")
    return BucketsQuery(
        prefix=request.param("prefix") or "",
        after="" if token is None else decode_token(token).decode("utf-8", "replace"),
        max_buckets=max(1, bounded(request, "max-buckets", BUCKETS_MAX)),
        region=request.param("bucket-region") or "",
    )


def parts_query(request: ParsedRequest) -> PartsQuery:
    after = bounded(request, "part-number-marker", PARTS_MAX, default=0)
    return PartsQuery(after, bounded(request, "max-parts", KEYS_MAX))


def bounded(request: ParsedRequest, name: str, maximum: int, *, default: int | None = None) -> int:
    """Return a count, `maximum` if it is larger, the default (`maximum`) if it is not given."""
    value = request.param(name)
    if value is None:
        return maximum if default is None else default
    if not _INTEGER.fullmatch(value):
        message = f"Provided {name} not an integer or within integer range"
        raise invalid_argument(message, name, value)
    if not 0 <= int(value) <= _INTEGER_MAX:
        message = f"Argument {name} must be an integer between 0 and {_INTEGER_MAX}"
        raise invalid_argument(message, name, value)
    return min(int(value), maximum)


def encode_token(after: bytes) -> str:
    """Return an opaque token for the page behind `after`."""
    raw = TOKEN_VERSION + _digest(after) + after
    return base64.urlsafe_b64encode(raw).decode("ascii")


def decode_token(token: str) -> bytes:
    """Return what `encode_token` was given; raise InvalidArgument for anything made elsewhere.

    The digest is no secret: a forged token gets its maker no more than `start-after` would.
    """
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _bad_token() from None
    after = raw[1 + _DIGEST_SIZE :]
    if raw != TOKEN_VERSION + _digest(after) + after or encode_token(after) != token:
        raise _bad_token()
    return after


def page(
    keys: Iterable[bytes], prefix: bytes, delimiter: bytes, after: bytes, max_keys: int
) -> tuple[list[bytes], list[bytes], bytes | None, bool]:
    """Return (keys, common prefixes, next marker, truncated) of the page behind `after`.

    Entries stand in byte order. A key stands on the page if it is larger than `after`; a common
    prefix if one of its keys is, unless `after` is that common prefix itself.
    """
    behind = (key for key in keys if key.startswith(prefix) and key > after)
    names = sorted({rolled_up(key, prefix, delimiter) for key in behind} - {after})
    shown = names[:max_keys]
    groups = [name for name in shown if delimiter and name.find(delimiter, len(prefix)) >= 0]
    truncated = 0 < max_keys < len(names)
    entries = [name for name in shown if name not in groups]
    return entries, groups, shown[-1] if truncated else None, truncated


def rolled_up(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Return the entry that stands for a key: its common prefix, or itself."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if at < 0 else key[: at + len(delimiter)]


def buckets_page(names: Iterable[str], query: BucketsQuery) -> tuple[list[str], str | None]:
    """Return the buckets to list and the token for the next page, None on the last one."""
    wanted = sorted(n for n in names if n.startswith(query.prefix) and n > query.after)
    shown = wanted[: query.max_buckets]
    token = encode_token(shown[-1].encode("utf-8")) if len(wanted) > len(shown) > 0 else None
    return shown, token


def _bytes(request: ParsedRequest, name: str) -> bytes:
    return (request.param(name) or "").encode("utf-8")


def _is_url_encoded(request: ParsedRequest) -> bool:
    encoding = request.param("encoding-type")
    if encoding in (None, ""):
        return False
    if encoding == "url":
        return True
    message = "Invalid Encoding Method specified in Request"
    raise invalid_argument(message, "encoding-type", encoding or "")


def _upload_after(marker: str) -> UploadId:
    if not marker:
        return UploadId(b"")
    try:
        return parse_upload_id(marker)
    except S3Error:
        raise invalid_argument("Invalid uploadId marker", "upload-id-marker", marker) from None


def _digest(after: bytes) -> bytes:
    return hashlib.blake2b(after, digest_size=_DIGEST_SIZE, person=b"fileflux-list").digest()


def _bad_token() -> S3Error:
    message = "The continuation token provided is incorrect"
    return S3Error("InvalidArgument", message, extra={"ArgumentName": "continuation-token"})
