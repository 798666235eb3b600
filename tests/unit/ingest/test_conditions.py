"""Preconditions decide as RFC 9110 and S3 say, and no header can do more than fail them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.core.model import WriteConditions
from fileflux.ingest.conditions import (
    Validators,
    check_copy_source,
    check_read,
    http_date,
    is_range_wanted,
    parse_http_date,
    write_conditions,
)
from fileflux.ingest.s3_errors import S3Error

MODIFIED_S = 784_111_777
NOW = "Sun, 06 Nov 1994 08:49:37 GMT"
BEFORE = "Sun, 06 Nov 1994 08:49:36 GMT"
AFTER = "Sun, 06 Nov 1994 08:49:38 GMT"
CURRENT = Validators("abc", MODIFIED_S * 1_000_000 + 999_999)


def answer(headers: dict[str, str]) -> int:
    """Return the status of a GET."""
    try:
        return 200 if check_read(headers, CURRENT) else 304
    except S3Error as refusal:
        return refusal.status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-match": '"abc"'}, 200),
        ({"if-match": "abc"}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x", "abc"'}, 200),
        ({"if-match": 'W/"abc"'}, 412),
        ({"if-match": '"abcd"'}, 412),
        ({"if-match": ""}, 412),
        ({"if-none-match": '"abc"'}, 304),
        ({"if-none-match": 'W/"abc"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x","y"'}, 200),
        ({"if-modified-since": NOW}, 304),
        ({"if-modified-since": AFTER}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-unmodified-since": NOW}, 200),
        ({"if-unmodified-since": AFTER}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-unmodified-since": "yesterday"}, 200),
        # An entity tag goes before a date, as S3 documents it.
        ({"if-match": '"abc"', "if-unmodified-since": BEFORE}, 200),
        ({"if-none-match": '"abc"', "if-modified-since": BEFORE}, 304),
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, 200),
        # What must hold goes before what must not.
        ({"if-match": '"x"', "if-none-match": '"abc"'}, 412),
        ({"if-match": '"abc"', "if-none-match": '"abc"'}, 304),
        ({"if-unmodified-since": BEFORE, "if-modified-since": AFTER}, 412),
    ],
)
def test_a_read_goes_on_only_under_its_conditions(headers: dict[str, str], status: int) -> None:
    assert answer(headers) == status


def test_a_failed_precondition_is_named() -> None:
    with pytest.raises(S3Error) as refusal:
        check_read({"if-match": '"x"'}, CURRENT)

    assert refusal.value.extra == {"Condition": "If-Match"}


@pytest.mark.parametrize(
    ("conditions", "goes_on"),
    [
        ({"if-match": '"abc"', "if-unmodified-since": BEFORE}, True),
        ({"if-none-match": '"abc"', "if-modified-since": BEFORE}, False),
        ({"if-none-match": '"x"'}, True),
        ({"if-match": '"x"'}, False),
        ({"if-modified-since": AFTER}, False),
        ({"if-modified-since": BEFORE}, True),
        ({"if-unmodified-since": BEFORE}, False),
    ],
)
def test_a_copy_goes_on_only_under_its_source_s_conditions(
    conditions: dict[str, str], goes_on: bool
) -> None:
    headers = {f"x-amz-copy-source-{name}": value for name, value in conditions.items()}
    if goes_on:
        check_copy_source(headers, CURRENT)
    else:
        with pytest.raises(S3Error) as refusal:
            check_copy_source(headers, CURRENT)
        assert refusal.value.status == 412


def test_a_copy_does_not_go_on_under_a_condition_that_nobody_can_read() -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        check_copy_source({"x-amz-copy-source-if-modified-since": "soon"}, CURRENT)


def test_conditions_of_the_target_are_none_of_the_source() -> None:
    check_copy_source({"if-match": '"x"'}, CURRENT)


@pytest.mark.parametrize(
    ("value", "is_wanted"),
    [
        ('"abc"', True),
        ("abc", True),
        ('"x"', False),
        ('W/"abc"', False),
        (NOW, True),
        (BEFORE, False),
        (AFTER, False),
        ("nonsense", False),
    ],
)
def test_a_range_stands_only_for_the_object_that_it_was_meant_for(
    value: str, is_wanted: bool
) -> None:
    assert is_range_wanted({"if-range": value}, CURRENT) is is_wanted
    assert is_range_wanted({}, CURRENT)


def test_a_write_carries_its_conditions_without_quotes() -> None:
    assert write_conditions({}) == WriteConditions()
    assert write_conditions({"if-none-match": "*"}) == WriteConditions(if_none_match="*")
    assert write_conditions({"if-match": '"abc-2"'}) == WriteConditions(if_match="abc-2")
    assert write_conditions({"if-match": "abc"}) == WriteConditions(if_match="abc")


def test_a_tag_that_no_object_can_have_is_kept_no_longer_than_it_takes_to_miss() -> None:
    """Conditions travel in seals and bundles with other clients' uploads, which have a limit."""
    assert len(write_conditions({"if-match": '"' + "a" * 60_000 + '"'}).if_match or "") == 128


@pytest.mark.parametrize(
    "headers",
    [
        {"if-match": '"a", "b"'},
        {"if-none-match": 'W/"a"'},
        {"if-unmodified-since": NOW},
    ],
)
def test_a_write_never_goes_on_under_a_condition_that_we_cannot_check(
    headers: dict[str, str],
) -> None:
    with pytest.raises(S3Error) as refusal:
        write_conditions(headers)

    assert refusal.value.code == "NotImplemented"
    assert refusal.value.extra["Header"].lower() in headers


@pytest.mark.parametrize(
    "text", [NOW, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
)
def test_all_three_forms_of_a_date_are_read(text: str) -> None:
    assert parse_http_date(text) == MODIFIED_S


@given(st.integers(0, 4_102_444_800))
def test_a_date_survives_its_header(at_s: int) -> None:
    assert parse_http_date(http_date(at_s * 1_000_000 + 1)) == at_s


@given(st.text(max_size=120))
def test_no_text_is_worse_than_no_date(text: str) -> None:
    found = parse_http_date(text)

    assert found is None or isinstance(found, int)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "Sun, 99 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 99:99:99 GMT",
        "Sun, 06 Nov 1994 08:49:37 +9999999999",
        ", ".join(itertools.repeat("Sun", 10_000)),
        "0" * 100,
    ],
)
def test_a_date_that_cannot_be_is_none(text: str) -> None:
    assert parse_http_date(text) is None


CONDITION_NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
VALUES = st.text(max_size=30) | st.sampled_from(["*", '"abc"', 'W/"abc"', NOW, BEFORE])
HEADERS = st.dictionaries(
    st.sampled_from([*CONDITION_NAMES, *(f"x-amz-copy-source-{n}" for n in CONDITION_NAMES)]),
    VALUES,
)


@given(HEADERS)
def test_no_condition_does_more_than_fail(headers: dict[str, str]) -> None:
    assert answer(headers) in (200, 304, 412)
    for check in (lambda: check_copy_source(headers, CURRENT), lambda: write_conditions(headers)):
        try:
            check()
        except S3Error as refusal:
            code = refusal.code
        else:
            code = "PreconditionFailed"
        assert code in ("PreconditionFailed", "InvalidArgument", "NotImplemented")
