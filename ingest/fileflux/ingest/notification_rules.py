"""What a notification configuration may say: S3's rules, and the destinations that exist here.

An ARN names a destination of the bucket's owner: `arn:fileflux:webhook:REGION::NAME`. Tools that
accept AWS's own ARNs only may write `arn:aws:sqs:REGION::NAME`, or `sns`. The region may be left
out; so may the account, or it is the owner's id.
"""

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Final

from fileflux.core.ids import UserId
from fileflux.ingest.s3_errors import S3Error, invalid_argument
from fileflux.metadata.notification import Notification

ID_SIZE_MAX: Final = 255
FILTER_BYTES_MAX: Final = 1_024
"""As a key's."""
EVENT_NAMES: Final = (
    "s3:ObjectCreated:*",
    "s3:ObjectCreated:Put",
    "s3:ObjectCreated:Post",
    "s3:ObjectCreated:Copy",
    "s3:ObjectCreated:CompleteMultipartUpload",
    "s3:ObjectRemoved:*",
    "s3:ObjectRemoved:Delete",
    "s3:ObjectRemoved:DeleteMarkerCreated",
)
"""Post and DeleteMarkerCreated never happen here, and are named by many configurations."""
_ARN: Final = re.compile(
    r"arn:(?:fileflux:webhook|aws:(?:sqs|sns)):([a-z0-9-]*):([^:]*):([A-Za-z0-9][\w.-]{0,63})",
    re.ASCII,
)
OVERLAP: Final = (
    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the "
    "prefixes are overlapping for the same event type."
)
SHARED_EVENT: Final = (
    "Configurations overlap. Configurations on the same bucket cannot share a common event type."
)


def checked(
    parts: Sequence[Notification],
    *,
    owner_id: UserId,
    region: str,
    destinations: Collection[str],
) -> tuple[Notification, ...]:
    """Return the parts with their ids and destinations' names; raise S3Error for what S3 refuses.

    `destinations`: names of the owner's.
    """
    for one in parts:
        _check_events(one)
        _check_filter(one)
    found = tuple(
        replace(
            one,
            configuration_id=_id_of(one),
            destination=_destination(one.arn, owner_id, region, destinations),
        )
        for one in parts
    )
    _check_ids(found)
    for one, other in combinations(found, 2):
        _check_overlap(one, other)
    return found


def _check_events(one: Notification) -> None:
    for name in one.event_names:
        if name not in EVENT_NAMES:
            message = f"The event is not supported for notifications; there are {_listed()}."
            raise invalid_argument(message, "Event", name)


def _listed() -> str:
    return ", ".join(EVENT_NAMES)


def _check_filter(one: Notification) -> None:
    for name, value in (("prefix", one.prefix), ("suffix", one.suffix)):
        if len(value.encode("utf-8")) > FILTER_BYTES_MAX:
            message = f"A {name} has at most {FILTER_BYTES_MAX} bytes."
            raise invalid_argument(message, "FilterRule.Value", value)


def _id_of(one: Notification) -> str:
    """The id, or one that is the same whenever the same is asked for: nothing begins anew."""
    if len(one.configuration_id) > ID_SIZE_MAX:
        message = f"An Id has at most {ID_SIZE_MAX} characters."
        raise invalid_argument(message, "Id", one.configuration_id)
    if one.configuration_id:
        return one.configuration_id
    meaning = (one.kind, one.arn, one.event_names, one.prefix, one.suffix)
    return hashlib.blake2b(repr(meaning).encode(), digest_size=16).hexdigest()


def _check_ids(parts: Sequence[Notification]) -> None:
    names = [one.configuration_id for one in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = "Same ID used for multiple configurations. IDs must be unique"
        raise invalid_argument(message, "Id", twice[0])


def _destination(arn: str, owner_id: UserId, region: str, destinations: Collection[str]) -> str:
    match = _ARN.fullmatch(arn)
    if match is None or match[1] not in ("", region) or match[2] not in ("", owner_id.hex()):
        message = f"An ARN here names a destination: arn:fileflux:webhook:{region}::NAME."
        raise invalid_argument(message, "ARN", arn)
    if match[3] not in destinations:
        raise _unknown(arn, match[3])
    return match[3]


def _unknown(arn: str, name: str) -> S3Error:
    message = (
        f"Unable to validate the following destination configurations: the bucket's owner has no "
        f"destination {name}. Make it with POST /_fileflux/webhook-destinations, or `fileflux "
        f"webhook destination create`."
    )
    return invalid_argument(message, "ARN", arn)


def _check_overlap(one: Notification, other: Notification) -> None:
    if not _filters_meet(one, other):
        return
    shared = sorted(
        name
        for name in one.event_names
        if any(_overlap(name, another) for another in other.event_names)
    )
    if not shared:
        return
    is_filtered = any((one.prefix, one.suffix, other.prefix, other.suffix))
    raise invalid_argument(OVERLAP if is_filtered else SHARED_EVENT, "Event", shared[0])


def _overlap(name: str, other: str) -> bool:
    return name == other or _covers(name, other) or _covers(other, name)


def _covers(name: str, other: str) -> bool:
    return name.endswith(":*") and other.startswith(name.removesuffix("*"))


def _filters_meet(one: Notification, other: Notification) -> bool:
    """Whether a key could pass both: one prefix begins with the other, and a suffix ends so."""
    has_prefix = one.prefix.startswith(other.prefix) or other.prefix.startswith(one.prefix)
    has_suffix = one.suffix.endswith(other.suffix) or other.suffix.endswith(one.suffix)
    return has_prefix and has_suffix
