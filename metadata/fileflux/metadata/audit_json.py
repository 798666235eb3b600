"""Audit events as JSON lines: CloudEvents in structured mode, for operators and for tenants. Pure.

For operators it is the line of `record_lines`, with the record's own bytes. A tenant's copy is made
anew from what the tenant may know: no rows, no places of bytes (bundles are shared), no global
numbers or hashes, nothing of how others connect.
"""

from typing import Any, Final

import orjson

from fileflux.events.audit import NUMBER_DIGITS
from fileflux.metadata.audit_filter import OpenedRecord
from fileflux.metadata.record_lines import structured

FACTS_KEPT: Final = (
    "outcome", "version", "size", "etag", "checksums", "checksum_type", "detail", "class", "async",
    "multipart", "part", "parts", "owner", "entries",
)  # fmt: skip
"""What a tenant may know of a change in its own bucket."""
ACTOR_SHOWN: Final = ("user_id", "user_name")
"""What a tenant may know of others who changed its bucket."""


def structured_for(user_id: str, opened: OpenedRecord) -> bytes:
    """Return the line that a tenant sees of an event of its own bucket. `user_id`: hexadecimal."""
    event, data = opened.event, opened.data
    is_own = data["actor"].get("user_id") == user_id
    facts = {name: data["facts"][name] for name in FACTS_KEPT if name in data["facts"]}
    if is_own and "source" in data["facts"]:
        facts["source"] = data["facts"]["source"]  # Else it may be a bucket of somebody else.
    shown: dict[str, Any] = {
        "stream": opened.record.stream.hex(),
        "sequence": f"{opened.record.sequence:0{NUMBER_DIGITS}}",
        **{name: value for name, value in event.items() if name != "data"},
        "data": {
            **{name: value for name, value in data.items() if name not in _REPLACED},
            "actor": data["actor"] if is_own else _shown_actor(data["actor"]),
            "facts": facts,
        },
    }
    return orjson.dumps(shown)


_REPLACED: Final = frozenset({"actor", "facts", "effects", "stamp"})


def _shown_actor(actor: dict[str, Any]) -> dict[str, Any]:
    return {name: actor[name] for name in ACTOR_SHOWN if name in actor}


__all__ = ["ACTOR_SHOWN", "FACTS_KEPT", "structured", "structured_for"]
