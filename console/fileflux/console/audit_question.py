"""What `fileflux audit tail | search | export` are asked: options, and what they mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Final

import typer

from fileflux.console.wiring import Surroundings, open_broker, open_metadata
from fileflux.core.clock import SystemClock
from fileflux.events.topics import AUDIT
from fileflux.metadata.audit_filter import (
    AuditFilter,
    FilterInvalid,
    operations_named,
    time_named,
)
from fileflux.metadata.audit_places import DatabasePlace, TopicPlace
from fileflux.metadata.audit_reader import AuditReader
from fileflux.metadata.chain import FIRST_POSITION

START: Final = "start"
NOW: Final = "now"

From = Annotated[
    str, typer.Option("--from", help="A position, a time (2026-01-31T12:00:00Z), start or now.")
]
Until = Annotated[str, typer.Option(help="A position or a time; what is there is left out.")]
Bucket = Annotated[str, typer.Option(help="Only this bucket.")]
Prefix = Annotated[str, typer.Option(help="Only keys that begin so.")]
Principal = Annotated[str, typer.Option(help="Only this user: a name, an id or an access key.")]
Operation = Annotated[
    list[str] | None, typer.Option(help="Only this operation, such as PutObject. Repeatable.")
]


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked, as it was said: two that are equal mean the same events."""

    start: str
    until: str
    wanted: AuditFilter


@dataclass(frozen=True, slots=True)
class Range:
    """Positions to read, `until` not among them (None: no end), and what to take of them."""

    start: int
    until: int | None
    wanted: AuditFilter


def question(
    start: str,
    until: str,
    *,
    bucket: str,
    prefix: str,
    principal: str,
    operation: list[str] | None,
) -> Question:
    """Return what the options ask; end the command with code 2 for what they cannot."""
    try:
        for text in filter(None, (start, until)):
            if not _is_position(text) and text not in (START, NOW):
                time_named(text)
        operations = operations_named(operation or ())
    except FilterInvalid as error:
        raise typer.BadParameter(str(error)) from None
    wanted = AuditFilter(
        bucket=bucket, prefix=prefix.encode(), principal=principal, operations=operations
    )
    return Question(start, until, wanted)


async def range_of(asked: Question, reader: AuditReader) -> Range:
    """Look up the positions that a question means."""
    start, until, wanted = FIRST_POSITION, None, asked.wanted
    if _is_position(asked.start):
        start = max(FIRST_POSITION, int(asked.start))
    elif asked.start == NOW:
        start = await reader.end()
    elif asked.start != START:
        since_us = time_named(asked.start)
        start = await reader.position_at(since_us)
        wanted = replace(wanted, since_us=since_us)
    if _is_position(asked.until):
        until = int(asked.until)
    elif asked.until == NOW:
        until = await reader.end()
    elif asked.until not in ("", START):
        until_us = time_named(asked.until)
        until = await reader.position_after(until_us)
        wanted = replace(wanted, until_us=until_us)
    return Range(start, until, wanted)


@asynccontextmanager
async def open_audit_reader(found: Surroundings) -> AsyncIterator[AuditReader]:
    """A reader over the database, and the topic for what the database does not have."""
    async with open_metadata(found) as metadata, open_broker(found) as broker:
        topic = TopicPlace(lambda: broker.source([(AUDIT, 0)]), SystemClock())
        try:
            yield AuditReader([DatabasePlace(metadata.reader), topic])
        finally:
            await topic.close()


def _is_position(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18
