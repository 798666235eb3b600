"""The index of subscriptions finds exactly those that want an event, and looks at few."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.model.webhook_rows import audit_record, subscription

from fileflux.core.errors import Invalid
from fileflux.core.ids import BucketId
from fileflux.webhooks.filters import SubscriptionIndex, check_event_names, wants
from fileflux.webhooks.occurrence import Occurrence, occurrence_of

ENDS = st.text("ab/", max_size=3).map(str.encode)
NAMES = st.sampled_from(
    [("s3:ObjectCreated:*",), ("s3:ObjectRemoved:*",), ("s3:ObjectCreated:Put",)]
)


def occurrence(key: bytes, operation: str = "PutObject") -> Occurrence:
    found = occurrence_of(audit_record(key=key, operation=operation))
    assert found is not None
    return found


@given(
    st.lists(st.tuples(ENDS, ENDS, NAMES), max_size=12),
    st.text("ab/", min_size=1, max_size=5).map(str.encode),
    st.sampled_from(["PutObject", "CopyObject", "DeleteObject"]),
)
def test_the_index_finds_what_asking_each_subscription_finds(
    filters: list[tuple[bytes, bytes, tuple[str, ...]]], key: bytes, operation: str
) -> None:
    every = [subscription(prefix=p, suffix=s, event_names=n) for p, s, n in filters]
    happened = occurrence(key, operation)
    expected = {one.subscription_id for one in every if wants(one, happened)}
    index = SubscriptionIndex(every)
    assert {one.subscription_id for one in index.matching(happened)} == expected
    for one in every:
        index.remove(one)
    assert index.matching(happened) == []


def test_ten_thousand_subscriptions_cost_an_event_no_scan() -> None:
    """Counted, not timed: how many subscriptions are looked at."""
    rng = random.Random(7)
    every = [subscription(prefix=b"%06d/" % n, suffix=b".jpg") for n in range(10_000)]
    looked = 0

    class Counted(tuple[str, ...]):
        def __iter__(self):  # type: ignore[no-untyped-def]
            nonlocal looked
            looked += 1
            return super().__iter__()

    index = SubscriptionIndex(
        subscription(prefix=one.prefix, suffix=one.suffix, event_names=Counted(one.event_names))
        for one in every
    )
    for _ in range(100):
        assert len(index.matching(occurrence(b"%06d/x.jpg" % rng.randrange(10_000)))) == 1
    assert looked == 100


def test_a_subscription_to_a_namesake_of_a_removed_bucket_hears_nothing() -> None:
    index = SubscriptionIndex([subscription(bucket_id=BucketId(b"x" * 16))])
    assert index.matching(occurrence(b"a")) == []


def test_a_name_that_is_no_event_is_refused() -> None:
    check_event_names(["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"])
    for name in ("", "*", "s3:*x", "s3:ObjectCreated", "s3:ObjectRestore:*", "s3:ObjectCreated:Pu"):
        with pytest.raises(Invalid):
            check_event_names([name])


def test_records_of_other_operations_and_refused_ones_are_told_to_nobody() -> None:
    assert occurrence_of(audit_record(operation="UploadPart")) is None
    assert occurrence_of(audit_record(outcome="NoSuchBucket")) is None
