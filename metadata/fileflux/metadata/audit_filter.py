"""Which audit events a reader wants, and what a filter sees of one. Pure.

An event is shown to the owner that the bucket had when it happened (`facts.owner`): ids of buckets
are never reused, so whoever takes a name later sees nothing of what was there before, and a former
owner nothing of what comes. What belongs to no bucket is for operators.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid, Invalid
from fileflux.metadata.audit_facts import OPERATIONS
from fileflux.metadata.audit_record import SALVAGE, key_of
from fileflux.metadata.chain import NumberedRecord

OPERATION_NAMES: Final = frozenset([*OPERATIONS.values(), SALVAGE])
_PLAIN: Final = re.compile(r"[A-Za-z0-9._-]+")
_LOST_PLUS: Final = re.compile(r"(T\S+) (\d\d:?\d\d)$")
"""A `+` in a query string, where it means a blank."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FilterInvalid(Invalid):
    """A filter that nothing could pass. The message says why."""


class OpenedRecord:
    """A numbered record with its JSON."""

    __slots__ = ("data", "event", "record")

    def __init__(self, record: NumberedRecord) -> None:
        """Raise EventInvalid for what is no record of ours."""
        try:
            event = orjson.loads(record.payload)
            data = event["data"]
            _ = data["operation"], data["bucket"], data["stamp"], data["actor"], data["facts"]
        except (KeyError, TypeError, ValueError) as error:
            raise EventInvalid(f"position {record.position} is no audit record") from error
        self.record = record
        self.event: dict[str, Any] = event
        self.data: dict[str, Any] = data

    @property
    def key(self) -> bytes | None:
        return key_of(self.data)

    def is_by(self, principal: str, *, shown_to: str) -> bool:
        """Tell whether a user of this name, id or access key did it.

        `shown_to`: the id of a user, who may not try out others' access keys; empty: an operator.
        """
        actor = self.data["actor"]
        if principal in (actor.get("user_name"), actor.get("user_id")):
            return True
        return shown_to in ("", actor.get("user_id")) and principal == actor.get("key_id")


@dataclass(frozen=True, kw_only=True)
class AuditFilter:
    """What an event must be like; an empty field asks for nothing.

    `principal`: a user's name, id (hexadecimal) or access key. `owner`: the id of a user
    (hexadecimal) to whom the event's bucket belonged. `since_us` is inclusive, `until_us` not.
    """

    bucket: str = ""
    prefix: bytes = b""
    principal: str = ""
    operations: frozenset[str] = field(default=frozenset())
    owner: str = ""
    since_us: int | None = None
    until_us: int | None = None

    def open(self, record: NumberedRecord) -> OpenedRecord | None:
        """Return the record if it passes, None if not. Raise EventInvalid for no record at all."""
        if any(needle not in record.payload for needle in self._needles):
            return None
        opened = OpenedRecord(record)
        return opened if self._accepts(opened) else None

    @cached_property
    def _needles(self) -> tuple[bytes, ...]:
        """Texts that stand in every record that passes: most need no parsing."""
        texts = (self.bucket, self.principal, self.owner)
        return tuple(text.encode() for text in texts if _PLAIN.fullmatch(text))

    def _accepts(self, opened: OpenedRecord) -> bool:
        data = opened.data
        return (
            (not self.bucket or data["bucket"] == self.bucket)
            and (not self.operations or data["operation"] in self.operations)
            and (not self.owner or data["facts"].get("owner") == self.owner)
            and (not self.principal or opened.is_by(self.principal, shown_to=self.owner))
            and (not self.prefix or (opened.key or b"").startswith(self.prefix))
            and (self.since_us is None or data["stamp"] >= self.since_us)
            and (self.until_us is None or data["stamp"] < self.until_us)
        )


def operations_named(texts: Iterable[str]) -> frozenset[str]:
    """Return operations from comma separated names; raise FilterInvalid for an unknown one."""
    names = {name.strip() for text in texts for name in text.split(",")} - {""}
    unknown = sorted(names - OPERATION_NAMES)
    if unknown:
        known = ", ".join(sorted(OPERATION_NAMES))
        raise FilterInvalid(f"no operation is called {unknown[0][:64]!r}; there are: {known}")
    return frozenset(names)


def time_named(text: str) -> int:
    """Return µs since 1970 of a time in ISO 8601, UTC if it says nothing; raise FilterInvalid."""
    try:
        moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip()))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _EPOCH.resolution
    except (ValueError, OverflowError):
        raise FilterInvalid(
            f"{text[:64]!r} is no time such as 2026-01-31T12:00:00Z or 2026-01-31"
        ) from None
