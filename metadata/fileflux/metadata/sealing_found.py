"""The kinds of rows that `load_sealing` returns in columns that they share, sorted out."""

import asyncpg
import orjson

from fileflux.core.ids import BundleId, SealId
from fileflux.core.model import Manifest
from fileflux.metadata.rows import BucketRow, ObjectRow, ReplicaRow, Rows, Settlement
from fileflux.metadata.rows_codec import decode_meta, decode_outcomes

Records = list[asyncpg.Record]


class SealingFound:
    """The kinds of `load_sealing`, sorted out."""

    def __init__(self, found: Records) -> None:
        self.settlements: dict[SealId, Settlement] = {}
        self.replicas: dict[BundleId, list[ReplicaRow]] = {}
        self.bundle_states: dict[BundleId, str] = {}
        self.rows = Rows(clock_us=0)
        take = (
            self._clock, self._settlement, self._replica, self._state, self._bucket, self._object,
        )  # fmt: skip
        for record in found:
            take[record["kind"]](record)

    def _clock(self, found: asyncpg.Record) -> None:
        self.rows.clock_us = found["n1"]

    def _settlement(self, found: asyncpg.Record) -> None:
        self.settlements[found["b1"]] = Settlement(
            seal_id=found["b1"],
            outcomes=decode_outcomes(found["b2"]),
            aborted=found["f1"],
            settled_us=found["n1"],
        )

    def _replica(self, found: asyncpg.Record) -> None:
        replica = ReplicaRow(
            bundle_id=found["b1"],
            node_id=found["t1"],
            epoch=found["n1"],
            size=found["n2"],
            crc=found["n3"],
        )
        self.replicas.setdefault(replica.bundle_id, []).append(replica)

    def _state(self, found: asyncpg.Record) -> None:
        self.bundle_states[found["b1"]] = found["t1"]

    def _bucket(self, found: asyncpg.Record) -> None:
        add_bucket(
            self.rows,
            BucketRow(
                bucket_id=found["b1"],
                name=found["t1"],
                owner_id=found["b2"],
                storage_class=found["t2"],
                created_us=found["n1"],
                config=orjson.loads(found["j1"]),
                row_stamp=found["n2"],
            ),
        )

    def _object(self, found: asyncpg.Record) -> None:
        if found["b2"] is None:
            raise_floor(self.rows, found["n1"])
            return
        row = ObjectRow(
            bucket_id=found["b1"],
            key=found["b2"],
            version_id=found["b3"],
            stamp=found["n1"],
            row_stamp=found["n2"],
            size=found["n3"],
            etag=found["t1"],
            meta=decode_meta(found["j1"]),
            manifest=Manifest.from_bytes(found["b4"]),
            content_id=found["b5"],
            storage_class=found["t2"],
            shared=found["f1"],
        )
        self.rows.objects[(row.bucket_id, row.key)] = row


def add_bucket(rows: Rows, bucket: BucketRow) -> None:
    """Remember a bucket by id and by name."""
    rows.buckets[bucket.bucket_id] = bucket
    rows.bucket_names[bucket.name] = bucket.bucket_id


def raise_floor(rows: Rows, stamp: int | None) -> None:
    """The transaction's stamp will be larger than this one."""
    rows.stamp_max = max(rows.stamp_max, stamp or 0)
