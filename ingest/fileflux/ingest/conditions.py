"""Preconditions: whether a request may go on, given the object that is there (RFC 9110, 13.2.2).

Order and precedence are the RFC's, which S3 follows: an entity tag decides where one is given, and
dates only where none is. Dates have whole seconds. What cannot be read as a date is no condition on
a read, but stops a copy: a write does not go on under a condition that nobody checked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from fileflux.core.model import WriteConditions
from fileflux.ingest.s3_errors import S3Error, invalid_argument, not_implemented_header

COPY_SOURCE_IF: Final = "x-amz-copy-source-"
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
DATE_SIZE_MAX: Final = 100
"""The longest form of a date has 33 characters; its parser is not made for kilobytes."""
TAG_SIZE_MAX: Final = 128
"""No ETag of ours is as long: what is cut off cannot matter, and would stand in seal and bundle."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What conditions look at. `etag`: without quotes."""

    etag: str
    modified_us: int

    @property
    def modified_s(self) -> int:
        return self.modified_us // 1_000_000


def check_read(headers: Mapping[str, str], current: Validators) -> bool:
    """Return whether a GET or HEAD sends the object; False: 304 Not Modified.

    Raise PreconditionFailed (412) when the client asked for a state that is gone.
    """
    failed = _failed_match(headers, current, prefix="")
    if failed is not None:
        raise precondition_failed(failed)
    return not _is_unmodified(headers, current, prefix="")


def check_copy_source(headers: Mapping[str, str], source: Validators) -> None:
    """Raise PreconditionFailed unless the source is as `x-amz-copy-source-if-…` wants it."""
    for name in ("if-modified-since", "if-unmodified-since"):
        value = headers.get(COPY_SOURCE_IF + name)
        if value is not None and parse_http_date(value) is None:
            raise invalid_argument("Not an HTTP date.", COPY_SOURCE_IF + name, value)
    failed = _failed_match(headers, source, prefix=COPY_SOURCE_IF)
    if failed is None and _is_unmodified(headers, source, prefix=COPY_SOURCE_IF):
        has_tag = COPY_SOURCE_IF + "if-none-match" in headers
        failed = COPY_SOURCE_IF + ("if-none-match" if has_tag else "if-modified-since")
    if failed is not None:
        raise precondition_failed(failed)


def is_range_wanted(headers: Mapping[str, str], current: Validators) -> bool:
    """Return whether `If-Range` lets the range stand; otherwise the whole object is the answer."""
    value = headers.get("if-range")
    if value is None:
        return True
    if value.startswith(('"', "W/")) or value == current.etag:
        return _unquoted(value) == current.etag
    return parse_http_date(value) == current.modified_s


def write_conditions(headers: Mapping[str, str]) -> WriteConditions:
    """Return what a write depends on; its transaction decides. More than one tag: 501."""
    if "if-unmodified-since" in headers:
        raise not_implemented_header("If-Unmodified-Since")
    return WriteConditions(
        if_match=_single_tag(headers, "if-match"),
        if_none_match=_single_tag(headers, "if-none-match"),
    )


def precondition_failed(name: str) -> S3Error:
    """Return 412 that names the header which did not hold."""
    return S3Error("PreconditionFailed", extra={"Condition": name.title()})


def parse_http_date(text: str) -> int | None:
    """Return seconds since 1970 of an HTTP date in any of its three forms, None for no date."""
    try:
        date = parsedate_to_datetime(text) if len(text) <= DATE_SIZE_MAX else None
        if date is None:
            return None
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def http_date(at_us: int) -> str:
    """Return a time as `Last-Modified` has it. Names are English whatever the locale."""
    at = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    day, month = _DAYS[at.weekday()], _MONTHS[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year:04} {at:%H:%M:%S} GMT"


def _failed_match(headers: Mapping[str, str], current: Validators, *, prefix: str) -> str | None:
    tags = headers.get(f"{prefix}if-match")
    if tags is not None:
        return None if _matches(tags, current.etag, is_strong=True) else f"{prefix}if-match"
    date = parse_http_date(headers.get(f"{prefix}if-unmodified-since", ""))
    if date is not None and current.modified_s > date:
        return f"{prefix}if-unmodified-since"
    return None


def _is_unmodified(headers: Mapping[str, str], current: Validators, *, prefix: str) -> bool:
    tags = headers.get(f"{prefix}if-none-match")
    if tags is not None:
        return _matches(tags, current.etag, is_strong=False)
    date = parse_http_date(headers.get(f"{prefix}if-modified-since", ""))
    return date is not None and current.modified_s <= date


def _matches(tags: str, etag: str, *, is_strong: bool) -> bool:
    """Tell whether a list of tags names `etag`. Tags without quotes are S3's custom."""
    if tags.strip() == "*":
        return True
    # No tag of ours has a comma in it, so it is enough to cut there.
    given = [tag.strip() for tag in tags.split(",")]
    if not is_strong:
        given = [tag.removeprefix("W/") for tag in given]
    return any(_unquoted(tag) == etag for tag in given)


def _single_tag(headers: Mapping[str, str], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        return None
    if "," in value or value.startswith("W/"):
        raise not_implemented_header(name.title())
    return _unquoted(value)[:TAG_SIZE_MAX]


def _unquoted(tag: str) -> str:
    return tag[1:-1] if len(tag) >= 2 and tag[0] == tag[-1] == '"' else tag
