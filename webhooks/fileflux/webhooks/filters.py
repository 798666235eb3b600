"""Which subscriptions want an event, found without looking at all of them.

A bucket's subscriptions are kept by the prefix and suffix that they ask for. A key is cut to each
pair of lengths that occurs, and looked up: the cost follows the number of different lengths, not of
subscriptions.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fileflux.core.errors import Invalid
from fileflux.core.ids import BucketId
from fileflux.metadata.webhook_rows import Subscription
from fileflux.webhooks.occurrence import S3_NAMES, Occurrence


class UnknownEvent(Invalid):
    """No event has that name; the message says which there are."""


class ObjectFilter(Protocol):
    """Which changes somebody asked for, within a bucket."""

    @property
    def prefix(self) -> bytes: ...

    @property
    def suffix(self) -> bytes: ...

    @property
    def event_names(self) -> tuple[str, ...]: ...


def check_event_names(names: Sequence[str]) -> None:
    """Raise UnknownEvent unless each is S3's name of an event, or ends in `:*` for some."""
    for name in names:
        if not any(_covers(name, known) for known in S3_NAMES.values()):
            known = ", ".join(sorted(S3_NAMES.values()))
            raise UnknownEvent(
                f"{name} is no event; there are {known}, and each with :* at the end"
            )


def wants(subscription: Subscription, occurrence: Occurrence) -> bool:
    """Tell whether a subscription asked for this event."""
    return subscription.bucket_id == occurrence.bucket_id and lets_through(subscription, occurrence)


def lets_through(wanted: ObjectFilter, occurrence: Occurrence) -> bool:
    """Tell whether the key and the event are those that were asked for, whatever the bucket."""
    return (
        occurrence.key.startswith(wanted.prefix)
        and occurrence.key.endswith(wanted.suffix)
        and _wants_name(wanted, occurrence.name)
    )


def _wants_name(wanted: ObjectFilter, name: str) -> bool:
    return any(_covers(pattern, name) for pattern in wanted.event_names)


def _covers(pattern: str, name: str) -> bool:
    if pattern.endswith(":*"):
        return name.startswith(pattern.removesuffix("*"))
    return pattern == name


@dataclass(slots=True)
class _Bucket:
    lengths: Counter[tuple[int, int]] = field(default_factory=Counter)
    by_ends: dict[tuple[bytes, bytes], dict[bytes, Subscription]] = field(default_factory=dict)


class SubscriptionIndex:
    """Subscriptions by bucket, prefix and suffix."""

    def __init__(self, subscriptions: Iterable[Subscription] = ()) -> None:
        self._buckets: dict[BucketId, _Bucket] = {}
        for one in subscriptions:
            self.add(one)

    def add(self, one: Subscription) -> None:
        """Add one that is not there."""
        bucket = self._buckets.setdefault(one.bucket_id, _Bucket())
        bucket.lengths[len(one.prefix), len(one.suffix)] += 1
        bucket.by_ends.setdefault((one.prefix, one.suffix), {})[one.subscription_id] = one

    def remove(self, one: Subscription) -> None:
        """Remove one that was added with the same bucket, prefix and suffix."""
        bucket = self._buckets[one.bucket_id]
        lengths, ends = (len(one.prefix), len(one.suffix)), (one.prefix, one.suffix)
        bucket.lengths[lengths] -= 1
        if not bucket.lengths[lengths]:
            del bucket.lengths[lengths]
        del bucket.by_ends[ends][one.subscription_id]
        if not bucket.by_ends[ends]:
            del bucket.by_ends[ends]
        if not bucket.by_ends:
            del self._buckets[one.bucket_id]

    def __contains__(self, bucket_id: BucketId) -> bool:
        """Tell whether anybody subscribed to this bucket: what others hear need not be parsed."""
        return bucket_id in self._buckets

    def matching(self, occurrence: Occurrence) -> list[Subscription]:
        """Return those that want this event."""
        bucket = self._buckets.get(occurrence.bucket_id)
        if bucket is None:
            return []
        key = occurrence.key
        return [
            one
            for prefix, suffix in bucket.lengths
            for one in bucket.by_ends.get((key[:prefix], key[len(key) - suffix :]), {}).values()
            if max(prefix, suffix) <= len(key) and _wants_name(one, occurrence.name)
        ]
