"""One parse of a request, for routing, signature, authorization and storage alike.

Confused deputies are made of two readers that understand one request differently. Here a path is
percent-decoded once, a repeated header is joined once, and everybody reads the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.ingest import percent
from fileflux.ingest.auth_errors import InvalidArgument, InvalidRequest, InvalidURI, KeyTooLong

KEY_SIZE_BYTES_MAX: Final = 1024
QUERY_PARAMETERS_MAX: Final = 256
"""S3's longest request has about 20; sorting must not become work for an attacker's benefit."""
HEADERS_MAX: Final = 256
"""S3 allows 2 KiB of user metadata, which is fewer. Each is looked up, and may be joined."""

SINGLE_HEADERS: Final = frozenset(
    (
        "authorization",
        "content-length",
        "content-md5",
        "host",
        "transfer-encoding",
        "x-amz-content-sha256",
        "x-amz-copy-source",
        "x-amz-copy-source-range",
        "x-amz-date",
        "x-amz-decoded-content-length",
        "x-amz-security-token",
    )
)
"""Headers whose repetition has no meaning: refused instead of joined or chosen from."""


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it came from the wire. `raw_path` and `raw_query` are still encoded."""

    method: str
    raw_path: bytes
    raw_query: bytes = field(repr=False)
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """What the request says, once and for all.

    `path` is decoded UTF-8; `bucket` and `key` are its parts (empty where there is none).
    `query`: decoded (name, value), in the order sent. `headers`: lower-case name → value without
    surrounding blanks, repeated ones joined by a comma; octets above 127 stand as Latin-1.
    """

    method: str
    path: bytes
    bucket: str
    key: bytes
    query: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def has(self, name: str) -> bool:
        """Return whether the query names this parameter, with or without a value."""
        return any(name == each for each, _ in self.query)

    def param(self, name: str) -> str | None:
        """Return the value of a query parameter, None if it is absent; refuse two of them."""
        values = [value for each, value in self.query if each == name]
        if len(values) > 1:
            raise InvalidArgument(f"The query parameter '{name}' may be given once only.")
        return values[0] if values else None


def parse_request(raw: RawRequest, *, domains: tuple[str, ...] = ()) -> ParsedRequest:
    """Read a request; raise an S3RequestError for one that has no single meaning.

    `domains`: requests to `<bucket>.<domain>` name their bucket by the host.
    """
    path = _path(raw.raw_path)
    query = _query(raw.raw_query) if raw.raw_query else ()
    headers = parse_headers(raw.headers)
    bucket, key = _bucket_and_key(path, headers.get("host", ""), domains)
    return ParsedRequest(raw.method, path, bucket, key, query, headers)


def require_key_size(key: bytes) -> None:
    """Raise KeyTooLong for a key that S3 would not store."""
    if len(key) > KEY_SIZE_BYTES_MAX:
        raise KeyTooLong(extra={"Size": str(len(key)), "MaxSizeAllowed": str(KEY_SIZE_BYTES_MAX)})


def _path(raw_path: bytes) -> bytes:
    if not raw_path.startswith(b"/"):
        raise InvalidURI("The path must begin with '/'.")
    path = percent.decode(raw_path)
    if not path.isascii():
        percent.require_utf8(path)
    return path


def _query(raw_query: bytes) -> tuple[tuple[str, str], ...]:
    if raw_query.count(b"&") >= QUERY_PARAMETERS_MAX:
        raise InvalidArgument(f"A request may have {QUERY_PARAMETERS_MAX} query parameters.")
    pairs = []
    for item in raw_query.split(b"&"):
        if item:
            name, _, value = item.replace(b"+", b"%20").partition(b"=")
            pairs.append((percent.decode_text(name), percent.decode_text(value)))
    return tuple(pairs)


def parse_headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return lower-case name → value; refuse controls, and repetitions that have no meaning."""
    if len(pairs) > HEADERS_MAX:
        raise InvalidRequest(f"A request may have {HEADERS_MAX} headers.")
    headers: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        value = raw_value.decode("latin-1").strip(" \t")
        if not value.isprintable():
            _refuse_controls(name, value)
        headers[name] = _joined(headers, name, value) if name in headers else value
    return headers


def _refuse_controls(name: str, value: str) -> None:
    # A line end inside a value would write a line of its own into the canonical request.
    if any(char < " " and char != "\t" for char in value) or "\x7f" in value:
        raise InvalidRequest(f"The header '{_shown(name)}' contains a control character.")


def _joined(headers: Mapping[str, str], name: str, value: str) -> str:
    if name in SINGLE_HEADERS:
        raise InvalidRequest(f"The header '{name}' may be given once only.")
    return f"{headers[name]},{value}"


def _shown(name: str) -> str:
    return name[:100].encode("ascii", "backslashreplace").decode("ascii")


def _bucket_and_key(path: bytes, host: str, domains: tuple[str, ...]) -> tuple[str, bytes]:
    name = host.partition(":")[0].lower()
    for domain in domains:
        if name.endswith(f".{domain}"):
            return name[: -len(domain) - 1], path[1:]
    bucket, _, key = path[1:].partition(b"/")
    return bucket.decode("utf-8"), key
