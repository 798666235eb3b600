"""Where pages start and how keys roll up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fileflux.metadata.listing import KEYS_END, group_of, page_of, page_start, prefix_end

KEYS = st.text(max_size=12).map(str.encode)


@given(prefix=KEYS, key=KEYS)
def test_a_prefix_ends_above_all_that_begin_with_it_and_below_all_else(
    prefix: bytes, key: bytes
) -> None:
    inside = prefix <= key < prefix_end(prefix)
    assert inside == key.startswith(prefix)


def test_without_a_prefix_everything_is_below_the_end() -> None:
    assert prefix_end(b"") == KEYS_END
    assert "\U0010ffff".encode() * 256 < KEYS_END


@pytest.mark.parametrize(
    ("key", "prefix", "delimiter", "group"),
    [
        (b"a/b", b"", b"/", b"a/"),
        (b"a/b", b"a/", b"/", None),
        (b"a/b/c", b"a/", b"/", b"a/b/"),
        (b"a//", b"a/", b"/", b"a//"),
        (b"/", b"", b"/", b"/"),
        (b"abcabc", b"a", b"ca", b"abca"),
        (b"a/b", b"", b"", None),
    ],
)
def test_a_key_rolls_up_at_the_first_delimiter_behind_the_prefix(
    key: bytes, prefix: bytes, delimiter: bytes, group: bytes | None
) -> None:
    assert group_of(key, prefix, delimiter) == group


@pytest.mark.parametrize(
    ("after", "start"),
    [
        (b"", b"p/"),
        (b"a", b"p/"),
        (b"p/k", b"p/k\x00"),
        (b"p/d/", b"p/d0"),
        (b"p/d/x", b"p/d/x\x00"),
        (b"z", b"z\x00"),
    ],
)
def test_a_page_starts_behind_a_key_and_behind_all_of_a_common_prefix(
    after: bytes, start: bytes
) -> None:
    assert page_start(b"p/", b"/", after) == start


def test_one_entry_too_many_says_that_there_is_more() -> None:
    page = page_of([(b"a/", None), (b"b/", None), (b"c/", None)], max_keys=2)

    assert page.common_prefixes == (b"a/", b"b/")
    assert page.truncated
    assert page.next_after == b"b/"
