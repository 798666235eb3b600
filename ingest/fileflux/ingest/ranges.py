"""Which bytes of an object a request wants (RFC 9110, section 14, as S3 does it).

One range is served; more than one, or what is no range at all, is ignored and the whole object is
the answer, as the RFC allows. Only a well-formed range beyond the end is an error.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fileflux.ingest.s3_errors import S3Error, invalid_argument

COPY_RANGE: Final = "x-amz-copy-source-range"
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)", re.IGNORECASE)
_STRICT: Final = re.compile(r"bytes=([0-9]+)-([0-9]+)")
_DIGITS_MAX: Final = 18
_BEYOND: Final = 10**_DIGITS_MAX
"""Larger than any object: numbers with more digits are as good as this one."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `start` up to but not including `end` of an object of `size` bytes."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The value of Content-Range; a range of no bytes has none."""
        assert self.length > 0, self
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range to serve (206), None for the whole object (200).

    Raise InvalidRange (416) for a range that begins behind the end.
    """
    match = _RANGE.fullmatch(header) if header else None
    if header is None or match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.group(1, 2)
    if not first:
        start, end = max(0, size - _number(last)), size
    else:
        start, end = _number(first), min(size, _number(last) + 1 if last else size)
        if last and _number(last) < start:
            return None
    if start >= size:
        raise unsatisfiable(header, size)
    return ByteRange(start, end, size)


def parse_copy_range(header: str | None, size: int) -> ByteRange:
    """Return what UploadPartCopy copies of a source of `size` bytes; None: all of it.

    Nothing is guessed here: the range must be whole and inside the source.
    """
    if header is None:
        return ByteRange(0, size, size)
    match = _STRICT.fullmatch(header)
    first, last = (_number(match[1]), _number(match[2])) if match else (1, 0)
    if first > last:
        message = (
            f"The {COPY_RANGE} value must be of the form bytes=first-last where first and last are "
            "the zero-based offsets of the first and last bytes to copy"
        )
        raise invalid_argument(message, COPY_RANGE, header)
    if last >= size:
        message = f"Range specified is not valid for source object of size: {size}"
        raise invalid_argument(message, COPY_RANGE, header)
    return ByteRange(first, last + 1, size)


def part_range(part_sizes: Sequence[int], number: int, size: int) -> ByteRange | None:
    """Return where part `number` (from 1) of an object lies; `part_sizes` in the parts' order.

    An object that was not uploaded in parts has one part, itself. None: that part has no bytes.
    """
    sizes = part_sizes or (size,)
    if number > len(sizes):
        extra = {"ActualPartCount": str(len(sizes)), "PartNumberRequested": str(number)}
        raise S3Error("InvalidPartNumber", extra=extra)
    start = sum(sizes[: number - 1])
    end = start + sizes[number - 1]
    return ByteRange(start, end, size) if end > start else None


def unsatisfiable(header: str, size: int) -> S3Error:
    """Return 416 with the size, so that the client can ask again."""
    extra = {"RangeRequested": header[:255], "ActualObjectSize": str(size)}
    return S3Error("InvalidRange", extra=extra, headers={"Content-Range": f"bytes */{size}"})


def _number(digits: str) -> int:
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _DIGITS_MAX else _BEYOND
