"""A bucket's notification configuration as its row keeps it, and as its records carry it. Pure.

It is the entry `notification` of the bucket's configuration: audited, so a rebuild brings it back.
What it leads to, a subscription for each of its parts, is derived by the dispatcher of webhooks.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from fileflux.core.errors import FormatInvalid
from fileflux.core.ids import parse_id

ENTRY: Final = "notification"
"""The entry of a bucket's configuration; without it nobody is told anything."""
VERSION: Final = 1

Kind = Literal["queue", "topic", "function"]
"""Under which of S3's names it was given. All three mean the same here: a delivery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One part of a configuration. `destination`: the name of one of the bucket's owner.

    `subscription_id`: made when the part was put first, and kept as long as it stays the same.
    `is_tested`: whether its receiver is sent a test event when it begins. `first_position`: of the
    audit stream, when it was put first; it is told nothing of before.
    """

    kind: Kind
    configuration_id: str
    arn: str
    destination: str
    event_names: tuple[str, ...]
    prefix: str = ""
    suffix: str = ""
    subscription_id: bytes = b""
    is_tested: bool = True
    first_position: int = 0

    def means(self, other: "Notification") -> bool:
        """Tell whether another one asks for the same, whichever subscription that is."""
        return self == replace(
            other,
            subscription_id=self.subscription_id,
            is_tested=self.is_tested,
            first_position=self.first_position,
        )


def to_entry(parts: Sequence[Notification]) -> dict[str, object] | None:
    """Return the entry of the bucket's configuration; None removes it."""
    if not parts:
        return None
    return {"version": VERSION, "parts": [_to_json(one) for one in parts]}


def from_config(config: Mapping[str, object]) -> tuple[Notification, ...]:
    """Return the parts of a bucket's configuration; raise FormatInvalid for an unknown layout."""
    return from_entry(config.get(ENTRY))


def from_text(text: str | None) -> tuple[Notification, ...]:
    """Return the parts of an entry that is still JSON; raise FormatInvalid."""
    try:
        return from_entry(None if text is None else json.loads(text))
    except ValueError as error:
        raise FormatInvalid("a notification configuration is not JSON") from error


def from_entry(entry: Any) -> tuple[Notification, ...]:
    """Return the parts of an entry; raise FormatInvalid for an unknown layout."""
    if entry is None:
        return ()
    try:
        if entry["version"] != VERSION:
            raise FormatInvalid("a notification configuration is of a newer version")
        return tuple(_from_json(part) for part in entry["parts"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatInvalid(f"a notification configuration cannot be read: {error!r}") from error


def _to_json(one: Notification) -> dict[str, object]:
    return {
        "kind": one.kind,
        "id": one.configuration_id,
        "arn": one.arn,
        "destination": one.destination,
        "events": list(one.event_names),
        "prefix": one.prefix,
        "suffix": one.suffix,
        "subscription": one.subscription_id.hex(),
        "test": one.is_tested,
        "from": one.first_position,
    }


def _from_json(part: Mapping[str, Any]) -> Notification:
    return Notification(
        kind=part["kind"],
        configuration_id=part["id"],
        arn=part["arn"],
        destination=part["destination"],
        event_names=tuple(part["events"]),
        prefix=part["prefix"],
        suffix=part["suffix"],
        subscription_id=parse_id(part["subscription"]),
        is_tested=part["test"],
        first_position=part.get("from", 0),
    )
