"""A range gives exactly its bytes; what is no range gives the whole object."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.ranges import ByteRange, parse_copy_range, parse_range, part_range
from fileflux.ingest.s3_errors import S3Error

OBJECT = bytes(range(256))
SIZES = st.integers(0, 300)


def served(header: str | None, content: bytes = OBJECT) -> bytes:
    found = parse_range(header, len(content))
    return content if found is None else content[found.start : found.end]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", OBJECT[:1]),
        ("bytes=0-9", OBJECT[:10]),
        ("bytes=250-", OBJECT[250:]),
        ("bytes=250-999999999999999999999999999", OBJECT[250:]),
        ("bytes=-10", OBJECT[-10:]),
        ("bytes=-99999", OBJECT),
        ("BYTES=1-2", OBJECT[1:3]),
        ("bytes=0000000000000000000000000000005-5", OBJECT[5:6]),
    ],
)
def test_a_range_is_served(header: str, expected: bytes) -> None:
    assert parse_range(header, len(OBJECT)) is not None
    assert served(header) == expected


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-2",
        "bytes=1-2,4-5",
        "bytes=1-2,",
        "bytes= 1-2",
        "bytes=1 -2",
        "bytes=+1-2",
        "bytes=--1",
        "bytes=0x1-2",
        "bytes=\uff11-\uff12",
        "items=0-1",
        "1-2",
        "bytes=" + "1" * 5000 + "-" + "0" * 5000,
    ],
)
def test_what_is_no_single_range_is_ignored(header: str | None) -> None:
    assert parse_range(header, len(OBJECT)) is None


@pytest.mark.parametrize(
    "header", ["bytes=256-", "bytes=256-300", "bytes=-0", f"bytes={'9' * 5000}-"]
)
def test_a_range_behind_the_end_is_not_satisfiable(header: str) -> None:
    with pytest.raises(S3Error) as refusal:
        parse_range(header, len(OBJECT))

    assert (refusal.value.code, refusal.value.status) == ("InvalidRange", 416)
    assert refusal.value.headers == {"Content-Range": "bytes */256"}
    assert refusal.value.extra["ActualObjectSize"] == "256"


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_an_empty_object_has_no_range(header: str) -> None:
    with pytest.raises(S3Error, match="InvalidRange"):
        parse_range(header, 0)


def test_a_range_says_where_it_lies() -> None:
    assert ByteRange(2, 5, 10).content_range == "bytes 2-4/10"
    assert ByteRange(2, 5, 10).length == 3


@given(header=st.text(max_size=40) | st.from_regex(r"bytes=[0-9]{0,25}-[0-9]{0,25}"), size=SIZES)
def test_no_header_is_worse_than_not_satisfiable(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except S3Error as refusal:
        found = None
        code = refusal.code
    else:
        code = "InvalidRange"

    assert code == "InvalidRange"
    assert found is None or 0 <= found.start < found.end <= size


@given(first=SIZES, last=SIZES, size=SIZES)
def test_a_range_is_a_slice(first: int, last: int, size: int) -> None:
    content = OBJECT[:size]
    if first >= len(content) and first <= last:
        with pytest.raises(S3Error, match="InvalidRange"):
            served(f"bytes={first}-{last}", content)
    else:
        expected = content[first : last + 1] if first <= last else content
        assert served(f"bytes={first}-{last}", content) == expected


def test_a_copy_takes_all_or_exactly_the_range() -> None:
    assert parse_copy_range(None, 10) == ByteRange(0, 10, 10)
    assert parse_copy_range("bytes=3-9", 10) == ByteRange(3, 10, 10)
    assert parse_copy_range(None, 0) == ByteRange(0, 0, 0)


@pytest.mark.parametrize(
    "header",
    ["", "bytes=0-", "bytes=-5", "bytes=5-2", "BYTES=0-1", "bytes=0-1,2-3", "0-1", "bytes=a-b"],
)
def test_a_copy_s_range_is_not_guessed(header: str) -> None:
    with pytest.raises(S3Error) as refusal:
        parse_copy_range(header, 10)

    assert (refusal.value.code, refusal.value.status) == ("InvalidArgument", 400)


def test_a_copy_s_range_lies_inside_the_source() -> None:
    with pytest.raises(S3Error, match=r"InvalidArgument.*size: 10"):
        parse_copy_range("bytes=0-10", 10)


def test_a_part_is_a_range_of_the_object() -> None:
    assert part_range([5, 5, 2], 1, 12) == ByteRange(0, 5, 12)
    assert part_range([5, 5, 2], 3, 12) == ByteRange(10, 12, 12)
    assert part_range([], 1, 12) == ByteRange(0, 12, 12)
    assert part_range([], 1, 0) is None


@pytest.mark.parametrize("sizes", [[], [5, 7]])
def test_a_part_that_does_not_exist_is_not_satisfiable(sizes: list[int]) -> None:
    with pytest.raises(S3Error) as refusal:
        part_range(sizes, 3, 12)

    assert (refusal.value.code, refusal.value.status) == ("InvalidPartNumber", 416)
