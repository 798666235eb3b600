"""What a run of audit records leaves in the tables: the last row of every key, and what follows.

`replay.py` says the same over whole tables in memory, an effect at a time. Here only the last
effect of a key is decoded, since a later one takes its place within the same transaction anyway.
Derived rows come along: usage from the records' facts, live bundles and the replicas that the
facts name. Pure.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from fileflux.core.errors import EventInvalid
from fileflux.core.ids import BucketId, BundleId, NodeId, UserId
from fileflux.metadata.audit_record import RECORD_VERSION
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.row_json import bytes_from_json, effect_from_json
from fileflux.metadata.row_keys import KEY_COLUMNS, object_floor_key
from fileflux.metadata.rows import BundleRow, FloorRow, ReplicaRow, Rows, RowWrite

Json = Any
RawKey = tuple[str, tuple[Json, ...]]
NAMED: Final = ("buckets", "users")
"""Their floors are kept by name, and a removed row is known by its id alone."""
_BAD: Final = (KeyError, TypeError, ValueError, IndexError, AttributeError)


@dataclass(slots=True)
class ReplayBatch:
    """What to store. `stamp`: the largest. `usage`: added to each bucket's (objects, bytes).

    `unnamed`: removed rows of `NAMED` whose names only the database knows, (table, id) → stamp.
    """

    stamp: int = 0
    floors: dict[tuple[str, bytes], FloorRow] = field(default_factory=dict)
    bundles: dict[BundleId, BundleRow] = field(default_factory=dict)
    replicas: dict[tuple[BundleId, NodeId], ReplicaRow] = field(default_factory=dict)
    usage: dict[BucketId, tuple[int, int]] = field(default_factory=dict)
    unnamed: dict[tuple[str, bytes], int] = field(default_factory=dict)
    _effects: dict[RawKey, Mapping[str, Json]] = field(default_factory=dict)

    def add(self, data: Mapping[str, Json], position: int) -> None:
        """Take a record in, as `data_of` gave it. Raise EventInvalid if it cannot be replayed."""
        try:
            self._add(data)
        except _BAD as error:
            raise EventInvalid(f"position {position}: no audit record: {error!r}") from error

    def writes(self) -> Iterator[RowWrite]:
        """Yield the last write of every key; raise EventInvalid."""
        return map(effect_from_json, self._effects.values())

    def name_floors(self, found: Rows) -> list[FloorRow]:
        """Return the floors of `unnamed`. `found`: those rows, as far as they are stored."""
        floors = []
        for (table, row_id), stamp in self.unnamed.items():
            stored: Mapping[Any, Any] = found.buckets if table == "buckets" else found.users
            if row_id in stored:
                floors.append(FloorRow(table=table, key=stored[row_id].name.encode(), stamp=stamp))
        return floors

    def unnamed_buckets(self) -> frozenset[BucketId]:
        return frozenset(BucketId(row_id) for table, row_id in self.unnamed if table == "buckets")

    def unnamed_users(self) -> frozenset[UserId]:
        return frozenset(UserId(row_id) for table, row_id in self.unnamed if table == "users")

    def _add(self, data: Mapping[str, Json]) -> None:
        stamp = data["stamp"]
        self.stamp = max(self.stamp, stamp)
        for effect in data["effects"]:
            self._add_effect(effect, stamp)
        facts = data["facts"]
        for name, delta in facts.get("usage", {}).items():
            self._add_usage(BucketId(bytes.fromhex(name)), delta)
        for bundle in facts.get("bundles", ()):
            if "nodes" in bundle:
                self._add_bundle(bundle, stamp)

    def _add_effect(self, effect: Mapping[str, Json], stamp: int) -> None:
        table = effect["table"]
        row = effect.get("row")
        if row is not None:
            key = tuple([row[column] for column in KEY_COLUMNS[table]])
        else:
            key = tuple(effect["key"])
            self._leave_floor(table, key, stamp)
        self._effects[(table, key)] = effect

    def _leave_floor(self, table: str, key: tuple[Json, ...], stamp: int) -> None:
        if table in NAMED:
            former = self._effects.get((table, key), {}).get("row")
            if former is None:
                self.unnamed[(table, bytes.fromhex(key[0]))] = stamp
                return
            floor_key = former["name"].encode()
        elif table in _FLOOR_KEYS:
            floor_key = _FLOOR_KEYS[table](key)
        else:
            return
        self.floors[(table, floor_key)] = FloorRow(table=table, key=floor_key, stamp=stamp)

    def _add_usage(self, bucket_id: BucketId, delta: Sequence[int]) -> None:
        objects, size = self.usage.get(bucket_id, (0, 0))
        self.usage[bucket_id] = (objects + delta[0], size + delta[1])

    def _add_bundle(self, facts: Mapping[str, Json], stamp: int) -> None:
        bundle_id = BundleId(bytes.fromhex(facts["bundle"]))
        if bundle_id in self.bundles:
            return
        self.bundles[bundle_id] = BundleRow(
            bundle_id=bundle_id,
            size_class=facts.get("size_class", 0),
            state="live",
            wanted=facts.get("wanted", len(facts["nodes"])),
            size=facts.get("size", 0),
            crc=facts.get("crc", 0),
            at_us=stamp,
        )
        for replica in _replicas_told(bundle_id, facts):
            self.replicas[(replica.bundle_id, replica.node_id)] = replica


def data_of(record: NumberedRecord) -> Mapping[str, Json]:
    """Return a record's `data`; raise EventInvalid for what is none of a version we know."""
    try:
        data: Mapping[str, Json] = orjson.loads(record.payload)["data"]
        version, _ = data["version"], data["stamp"] + 0
    except _BAD as error:
        where = f"position {record.position}"
        raise EventInvalid(f"{where}: no audit record: {error!r}") from error
    if version != RECORD_VERSION:
        raise EventInvalid(f"position {record.position}: an audit record of version {version}")
    return data


def _replicas_told(bundle_id: BundleId, facts: Mapping[str, Json]) -> list[ReplicaRow]:
    """Return the replicas that a record names: those seen committed, or those that were asked."""
    seen = facts.get("commits") or [{"node": node} for node in facts["nodes"]]
    return [
        ReplicaRow(
            bundle_id=bundle_id,
            node_id=NodeId(commit["node"]),
            epoch=0,  # Nobody recorded it; the node's inventory says it.
            size=facts.get("size", 0),
            crc=facts.get("crc", 0),
        )
        for commit in seen
    ]


def _object_floor_key(key: tuple[Json, ...]) -> bytes:
    return object_floor_key(BucketId(bytes.fromhex(key[0])), bytes_from_json(key[1]))


_FLOOR_KEYS: Final[Mapping[str, Callable[[tuple[Json, ...]], bytes]]] = {
    "objects": _object_floor_key,
    "access_keys": lambda key: str(key[0]).encode(),
}
