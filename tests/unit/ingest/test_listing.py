"""Pages of a listing give every key once; what a client invents is refused."""

import base64
from itertools import pairwise
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.ingest.listing import (
    KEYS_MAX,
    BucketsQuery,
    buckets_page,
    buckets_query,
    decode_token,
    encode_token,
    list_query_v1,
    list_query_v2,
    page,
    parts_query,
    uploads_query,
)
from fileflux.ingest.parsed_request import ParsedRequest, RawRequest, parse_request
from fileflux.ingest.s3_errors import S3Error
from fileflux.metadata.listing import group_of, page_start

KEYS = st.sets(st.text(st.sampled_from("ab/\x00é"), min_size=1, max_size=6).map(str.encode))
SHORT = st.text(st.sampled_from("ab/"), max_size=3).map(str.encode)


def get(query: str) -> ParsedRequest:
    return parse_request(RawRequest("GET", b"/bucket", query.encode(), []))


@pytest.mark.parametrize(
    ("prefix", "delimiter", "after", "expected"),
    [
        (b"", b"", b"", ([b"a", b"b/1", b"b/2", b"c"], [])),
        (b"", b"/", b"", ([b"a", b"c"], [b"b/"])),
        (b"b/", b"/", b"", ([b"b/1", b"b/2"], [])),
        (b"b", b"/", b"", ([], [b"b/"])),
        (b"", b"/", b"b/", ([b"c"], [])),
        (b"", b"/", b"b/1", ([b"c"], [b"b/"])),
        (b"", b"/", b"b", ([b"c"], [b"b/"])),
        (b"", b"", b"b/1", ([b"b/2", b"c"], [])),
        (b"x", b"", b"", ([], [])),
    ],
)
def test_keys_roll_up_behind_the_prefix(
    prefix: bytes, delimiter: bytes, after: bytes, expected: tuple[list[bytes], list[bytes]]
) -> None:
    entries, prefixes, marker, truncated = page(
        [b"a", b"b/1", b"b/2", b"c"], prefix, delimiter, after, 1000
    )

    assert (entries, prefixes) == expected
    assert (marker, truncated) == (None, False)


def test_a_page_ends_with_its_marker() -> None:
    assert page([b"a", b"b/1", b"c"], b"", b"/", b"", 2) == ([b"a"], [b"b/"], b"b/", True)
    assert page([b"a", b"b"], b"", b"", b"", 0) == ([], [], None, False)


@given(keys=KEYS, prefix=SHORT, delimiter=SHORT, max_keys=st.integers(1, 4))
def test_all_pages_together_are_the_listing(
    keys: set[bytes], prefix: bytes, delimiter: bytes, max_keys: int
) -> None:
    whole = page(keys, prefix, delimiter, b"", 1000)
    seen: tuple[list[bytes], list[bytes]] = ([], [])
    after, truncated = b"", True
    while truncated:
        entries, prefixes, marker, truncated = page(keys, prefix, delimiter, after, max_keys)
        seen[0].extend(entries)
        seen[1].extend(prefixes)
        after = marker or b""

    assert seen == whole[:2]


@given(keys=KEYS, prefix=SHORT, delimiter=SHORT, after=SHORT)
def test_the_database_means_the_same_as_the_model(
    keys: set[bytes], prefix: bytes, delimiter: bytes, after: bytes
) -> None:
    """It jumps to where a page begins, so that point must be the model's."""
    start = page_start(prefix, delimiter, after)
    behind = sorted(key for key in keys if key.startswith(prefix) and key >= start)
    groups = {group_of(key, prefix, delimiter) for key in behind} - {None}
    entries, prefixes, _, _ = page(keys, prefix, delimiter, after, 1000)

    assert entries == [key for key in behind if group_of(key, prefix, delimiter) is None]
    assert set(prefixes) == groups


@given(keys=KEYS, delimiter=SHORT)
def test_every_key_is_listed_or_stands_behind_its_prefix(
    keys: set[bytes], delimiter: bytes
) -> None:
    entries, prefixes, _, _ = page(keys, b"", delimiter, b"", 1000)

    assert all(key in entries or key.startswith(tuple(prefixes)) for key in keys)
    assert all(before < after for before, after in pairwise(prefixes))


@given(st.binary(max_size=1100))
def test_a_token_is_read_back(after: bytes) -> None:
    assert decode_token(encode_token(after)) == after


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda b: base64.b64encode(b).decode()))
def test_a_token_of_somebody_else_is_refused(token: str) -> None:
    with pytest.raises(S3Error) as refusal:
        decode_token(token)

    assert (refusal.value.code, refusal.value.status) == ("InvalidArgument", 400)


@given(after=st.binary(max_size=20), at=st.integers(0, 60), char=st.sampled_from("AZaz09-_=+/"))
def test_a_changed_token_is_refused(after: bytes, at: int, char: str) -> None:
    token = encode_token(after)
    changed = token[:at] + char + token[at + 1 :]
    if changed != token:
        with pytest.raises(S3Error, match="InvalidArgument"):
            decode_token(changed)


@pytest.mark.parametrize(
    ("text", "count"), [("", None), ("0", 0), ("1", 1), ("1000", 1000), ("2147483647", 1000)]
)
def test_a_page_has_a_thousand_keys_at_most(text: str, count: int | None) -> None:
    if count is None:
        assert list_query_v1(get("prefix=a")).max_keys == KEYS_MAX
    else:
        assert list_query_v1(get(f"max-keys={text}")).max_keys == count


@pytest.mark.parametrize(
    "text", ["", "-1", "a", "1.0", "+1", "2147483648", "9" * 5000, "%EF%BC%91"]
)
@pytest.mark.parametrize("name", ["max-keys", "max-uploads", "max-parts", "part-number-marker"])
def test_a_count_that_is_none_is_refused(name: str, text: str) -> None:
    read = {"max-keys": list_query_v2, "max-uploads": uploads_query}.get(name, parts_query)

    with pytest.raises(S3Error) as refusal:
        read(get(f"{name}={text}"))

    assert refusal.value.code == "InvalidArgument"
    assert refusal.value.extra["ArgumentName"] == name


def test_a_token_goes_before_start_after() -> None:
    token = quote(encode_token(b"m"))
    query = list_query_v2(get(f"list-type=2&start-after=a&continuation-token={token}"))

    assert (query.after, query.start_after) == (b"m", b"a")
    assert list_query_v2(get("list-type=2&start-after=a")).after == b"a"


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        list_query_v2(get("list-type=2&continuation-token="))


def test_there_is_one_way_to_encode_names() -> None:
    assert list_query_v1(get("encoding-type=url")).is_url_encoded
    with pytest.raises(S3Error, match="InvalidArgument"):
        list_query_v1(get("encoding-type=base64"))


def test_an_upload_marker_needs_a_key_marker() -> None:
    marker = "0" * 31 + "1"

    alone = uploads_query(get(f"uploads&upload-id-marker={marker}"))
    both = uploads_query(get(f"uploads&key-marker=a&upload-id-marker={marker}"))

    assert (alone.upload_after, alone.upload_marker) == (b"", "")
    assert (both.key_marker, both.upload_after) == (b"a", bytes.fromhex(marker))


def test_an_upload_marker_is_an_upload_id() -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        uploads_query(get("uploads&key-marker=a&upload-id-marker=b"))


def test_parts_are_paged_by_their_numbers() -> None:
    assert parts_query(get("uploadId=a&max-parts=5000&part-number-marker=7")).after == 7
    assert parts_query(get("uploadId=a&max-parts=5000")).max_parts == 1000
    assert parts_query(get("uploadId=a")).after == 0


def test_buckets_are_paged_too() -> None:
    names = ["b", "a1", "a2", "a3"]

    first, token = buckets_page(names, buckets_query(get("prefix=a&max-buckets=2")))
    assert first == ["a1", "a2"]
    assert token is not None
    query = buckets_query(get(f"prefix=a&max-buckets=2&continuation-token={quote(token)}"))
    assert buckets_page(names, query) == (["a3"], None)
    assert buckets_page(names, BucketsQuery()) == (sorted(names), None)
