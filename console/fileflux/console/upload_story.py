"""One upload's way through the pipeline, told from its audit record: where it lies, why, and when.

The record names the placement map's epoch and set; the map's topic still has every epoch of the
last 30 days, with the reason of each set.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fileflux.console.upload_deliveries import DeliveryStory, attempt_hops
from fileflux.console.upload_deliveries import as_json as delivery_as_json
from fileflux.core.errors import FileFluxError
from fileflux.core.model import SMALL_OBJECT_BYTES_MAX
from fileflux.events.codec import decode_events
from fileflux.events.ports import Broker
from fileflux.events.schema import PlacementDecided, ReplicaSet
from fileflux.events.topics import PLACEMENT_MAP
from fileflux.metadata.audit_facts import key_facts
from fileflux.metadata.audit_log import Hop, Trace
from fileflux.metadata.rows import AuditRecord

MAPS_READ_MAX: Final = 100_000
BUNDLES_SHOWN_MAX: Final = 4
DELIVERIES_SHOWN_MAX: Final = 20
_REQUEST: Final = ("request_id", "trace_id", "user_name", "source_address")
"""What the record keeps of the request, as it is shown."""


def since_first(traced: Trace, more: Sequence[Hop] = ()) -> list[tuple[str, float]]:
    """Every hop and its time in ms since the first one. `more`: what the record cannot know."""
    hops = sorted([*traced.hops, *more], key=lambda hop: hop.at_us)
    if not hops:
        return []
    began = hops[0].at_us
    return [(hop.name, (hop.at_us - began) / 1000) for hop in hops]


async def reasons_of(broker: Broker, record: AuditRecord) -> dict[str, str]:
    """Bundle → why placement chose its nodes; what the topic no longer has is left out."""
    facts: Any = record.facts
    wanted = {bundle["epoch"] for bundle in facts.get("bundles", []) if "epoch" in bundle}
    maps = await _maps(broker, wanted) if wanted else {}
    found = {}
    for bundle in facts.get("bundles", []):
        decided = maps.get(bundle.get("epoch"))
        chosen = None if decided is None else _set_of(decided, facts, bundle["set"])
        if chosen is not None:
            found[bundle["bundle"]] = chosen.reason
    return found


async def _maps(broker: Broker, epochs: set[int]) -> dict[int, PlacementDecided]:
    source = await broker.source([(PLACEMENT_MAP, 0)])
    first, end = await source.bounds(PLACEMENT_MAP, 0)
    await source.seek(PLACEMENT_MAP, 0, max(first, end - MAPS_READ_MAX))
    found: dict[int, PlacementDecided] = {}
    position = first
    while position < end and epochs - found.keys():
        records = await source.fetch(wait_s=1.0)
        if not records:
            break
        for record in records:
            position = record.position.offset + 1
            found.update(_decided(record.value, epochs))
    await source.close()
    return found


def _decided(value: bytes, epochs: set[int]) -> Iterable[tuple[int, PlacementDecided]]:
    try:
        events = decode_events(value)
    except FileFluxError:
        return []
    return [(e.epoch, e) for e in events if isinstance(e, PlacementDecided) and e.epoch in epochs]


def _set_of(decided: PlacementDecided, facts: Any, number: int) -> ReplicaSet | None:
    """Small objects share bundles of the small sets; everything else has large ones."""
    name = facts.get("class", "")
    for sets in decided.classes:
        if sets.storage_class == name:
            chosen = sets.small if facts.get("size", 0) <= SMALL_OBJECT_BYTES_MAX else sets.large
            return chosen[number] if number < len(chosen) else None
    return None


def as_json(
    traced: Trace, reasons: dict[str, str], deliveries: Sequence[DeliveryStory] = ()
) -> dict[str, Any]:
    record, facts = traced.record, dict[str, Any](traced.record.facts)
    key = record.key or b""
    return {
        "bucket": record.bucket,
        **{"key": key.decode("utf-8", "replace"), **key_facts(key)},
        "operation": record.operation,
        "at_us": record.at_us,
        **{name: record.actor.get(name, "") for name in _REQUEST},
        "position": traced.position,
        "sequence": traced.numbered.sequence if traced.numbered else None,
        "version": facts.get("version"),
        "size": facts.get("size"),
        "bundles": [
            {**bundle, "why": reasons.get(bundle["bundle"])} for bundle in facts.get("bundles", [])
        ],
        "hops": [
            {"name": name, "ms": ms} for name, ms in since_first(traced, attempt_hops(deliveries))
        ],
        "deliveries": [delivery_as_json(story) for story in deliveries],
    }


def printable(text: str) -> str:
    """Return a name that somebody else chose as one line that a terminal obeys in nothing."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show_places(out: Console, record: AuditRecord, reasons: dict[str, str]) -> None:
    """Where the bundles live, and why there."""
    facts: Any = record.facts
    size = f" {facts['size']} bytes" if "size" in facts else ""
    out.print(f"[bold]{escape(printable(_name_of(record)))}[/bold]{size}", soft_wrap=True)
    bundles: Sequence[Any] = facts.get("bundles", [])
    for bundle in bundles[:BUNDLES_SHOWN_MAX]:
        nodes = ", ".join(node[:8] for node in bundle.get("nodes", []))
        out.print(f"  bundle {bundle['bundle'][:12]} on {nodes}", soft_wrap=True)
        why = reasons.get(bundle["bundle"], "")
        place = f"epoch {bundle.get('epoch')}, set {bundle.get('set')}"
        out.print(f"    [dim]{place}{': ' + escape(why) if why else ''}[/dim]", soft_wrap=True)
    if len(bundles) > BUNDLES_SHOWN_MAX:
        out.print(f"  … and {len(bundles) - BUNDLES_SHOWN_MAX} bundles more")


def _name_of(record: AuditRecord) -> str:
    if record.key is None:
        return record.bucket or "the system"
    return f"{record.bucket}/{record.key.decode('utf-8', 'replace')}"


def show_request(out: Console, traced: Trace) -> None:
    """Who asked for what, under which ids, and where the audit stream has it."""
    record, actor = traced.record, traced.record.actor
    who = printable(f"{actor.get('user_name', '')} from {actor.get('source_address', '') or '-'}")
    out.print(f"  {record.operation} by {escape(who)}", soft_wrap=True)
    ids = [f"request {actor.get('request_id') or '-'}"]
    if actor.get("trace_id"):
        ids.append(f"trace {actor['trace_id']}")
    place = f"audit position {traced.position}" if traced.position else "not numbered yet"
    if traced.numbered is not None:
        stream = "its bucket" if record.bucket_id else "the system"
        place += f", {traced.numbered.sequence} of {stream}"
    out.print(f"    [dim]{escape(printable(' · '.join([*ids, place])))}[/dim]", soft_wrap=True)


def show_deliveries(out: Console, stories: Sequence[DeliveryStory]) -> None:
    """Who was told, by its webhook."""
    for story in stories[:DELIVERIES_SHOWN_MAX]:
        count = len(story.attempts)
        tried = f", {count} attempt{'' if count == 1 else 's'}" if count else ""
        out.print(f"  webhook {story.webhook[:8]}: {story.state}{tried}", soft_wrap=True)
        out.print(f"    [dim]{escape(printable(story.url))}[/dim]", soft_wrap=True)
    if len(stories) > DELIVERIES_SHOWN_MAX:
        out.print(f"  … and {len(stories) - DELIVERIES_SHOWN_MAX} webhooks more")


def show_hops(out: Console, traced: Trace, more: Sequence[Hop] = ()) -> None:
    """The events of one upload, with the time of each hop."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("ms", justify="right")
    table.add_column("what happened")
    for name, ms in since_first(traced, more):
        table.add_row(f"{ms:.1f}", escape(printable(name)))
    out.print(table)
