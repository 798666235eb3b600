"""What a transaction reads: the rows of a footprint, settlements, replicas.

A usual write (PUT, DELETE) needs one statement. Multipart uploads, shared content, accounts and
bucket changes add one statement each, only when the footprint names them.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

import asyncpg
import orjson

from fileflux.core.ids import BucketId, BundleId, SealId, UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.postgres_pool import Connection
from fileflux.metadata.queries import statement
from fileflux.metadata.rows import (
    CONTENT_DEPTH_MAX,
    BucketRow,
    Footprint,
    HolderRow,
    ObjectRow,
    ReplicaRow,
    Rows,
    Settlement,
)
from fileflux.metadata.rows_codec import (
    async_row,
    bucket_row,
    decode_meta,
    decode_outcomes,
    holder_row,
    key_row,
    node_row,
    part_row,
    upload_row,
    user_row,
)

ID_RANGE_END: Final = b"\xff" * 17
"""Above every 16-byte id."""

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


class FootprintLoader:
    """Loads what `load_sealing` does not: one statement per kind that the footprint names."""

    def __init__(self, connection: Connection, rows: Rows) -> None:
        self._connection = connection
        self._rows = rows

    async def load(self, footprint: Footprint) -> None:
        """Complete the rows; those of the objects are there already."""
        await self._load_bucket_names(footprint.bucket_names)
        await self._load_multiparts(footprint)
        await self._load_emptiness(footprint)
        await self._load_users(footprint)
        await self._load_keys(footprint)
        await self._load_others(footprint)
        await self._load_content(footprint)

    async def _fetch(self, name: str, *arguments: Any) -> Records:
        return await self._connection.fetch(statement(name), *arguments)

    async def _load_bucket_names(self, names: Collection[str]) -> None:
        if not names:
            return
        for found in await self._fetch("load_buckets_by_name", list(names)):
            add_bucket(self._rows, bucket_row(found))
        await self._load_floors("buckets", names)

    async def _load_floors(self, table: str, names: Collection[str]) -> None:
        keys = [name.encode() for name in names]
        found = await self._fetch("load_floors", table, keys)
        raise_floor(self._rows, found[0]["stamp"])

    async def _load_multiparts(self, footprint: Footprint) -> None:
        if not footprint.multiparts:
            return
        for found in await self._fetch("load_uploads", list(footprint.multiparts)):
            self._rows.uploads[found["upload_id"]] = upload_row(found)
        await self._load_all_parts(
            [u for u, parts in footprint.multiparts.items() if parts is None]
        )
        pairs = [(u, n) for u, parts in footprint.multiparts.items() if parts for n in parts]
        if pairs:
            self._add_parts(await self._fetch("load_parts", *map(list, zip(*pairs, strict=True))))

    async def _load_all_parts(self, upload_ids: Collection[UploadId]) -> None:
        if upload_ids:
            self._add_parts(await self._fetch("load_all_parts", list(upload_ids)))

    def _add_parts(self, records: Records) -> None:
        for found in records:
            self._rows.parts[(found["upload_id"], found["part_number"])] = part_row(found)

    async def _load_emptiness(self, footprint: Footprint) -> None:
        if not footprint.emptiness:
            return
        bucket_ids = list(footprint.emptiness)
        known = [list(column) for column in zip(*footprint.objects, strict=True)] or [[], []]
        found = await self._fetch("load_non_empty", bucket_ids, *known)
        self._rows.non_empty.update(record["bucket_id"] for record in found)
        for bucket_id in bucket_ids:
            await self._load_bucket_floor(bucket_id)
        await self._load_open_uploads(bucket_ids)

    async def _load_bucket_floor(self, bucket_id: BucketId) -> None:
        found = await self._fetch("load_bucket_floor", bucket_id, after_id(bucket_id))
        raise_floor(self._rows, found[0]["stamp"])

    async def _load_open_uploads(self, bucket_ids: Sequence[BucketId]) -> None:
        for found in await self._fetch("load_open_uploads", bucket_ids):
            upload = upload_row(found)
            self._rows.uploads[upload.upload_id] = upload
            self._rows.open_uploads.setdefault(upload.bucket_id, set()).add(upload.upload_id)
        opened = set().union(*self._rows.open_uploads.values())
        await self._load_all_parts(opened)

    async def _load_users(self, footprint: Footprint) -> None:
        if footprint.user_ids:
            for found in await self._fetch("load_users", list(footprint.user_ids)):
                self._add_user(found)
        if footprint.user_names:
            for found in await self._fetch("load_users_by_name", list(footprint.user_names)):
                self._add_user(found)
            await self._load_floors("users", footprint.user_names)

    def _add_user(self, found: asyncpg.Record) -> None:
        user = user_row(found)
        self._rows.users[user.user_id] = user
        self._rows.user_names[user.name] = user.user_id

    async def _load_keys(self, footprint: Footprint) -> None:
        if footprint.access_keys:
            for found in await self._fetch("load_keys", list(footprint.access_keys)):
                self._rows.keys[found["access_key"]] = key_row(found)
            await self._load_floors("access_keys", footprint.access_keys)
        if footprint.leaving_users:
            leaving = list(footprint.leaving_users)
            for found in await self._fetch("load_keys_of_users", leaving):
                self._rows.keys[found["access_key"]] = key_row(found)
            for found in await self._fetch("load_owned_buckets", leaving):
                self._rows.owned_buckets[found["owner_id"]] = found["bucket_count"]

    async def _load_others(self, footprint: Footprint) -> None:
        if footprint.node_ids:
            for found in await self._fetch("load_nodes", list(footprint.node_ids)):
                self._rows.nodes[found["node_id"]] = node_row(found)
        if footprint.async_ids:
            for found in await self._fetch("load_async_uploads", list(footprint.async_ids)):
                self._rows.async_uploads[found["upload_id"]] = async_row(found)

    async def _load_content(self, footprint: Footprint) -> None:
        """Close the rows under "what drops with it" (see `Rows`), so deep as it says."""
        rows = self._rows
        uploads = {
            row.content_id
            for key, row in rows.objects.items()
            if key in footprint.objects and row.manifest.parts
        }
        known_uploads: set[UploadId] = set()
        known_sharers: Counter[UploadId] = Counter()
        for _ in range(CONTENT_DEPTH_MAX + 1):
            await self._load_all_parts(uploads - known_uploads)
            known_uploads |= uploads
            sharers = Counter(row.content_id for row in self._loaded_rows() if row.shared)
            sharers.update(footprint.contents)
            wanted = {content for content, n in sharers.items() if known_sharers[content] < n}
            known_sharers = sharers
            if not wanted:
                return
            uploads |= await self._load_holders(wanted, max(sharers[c] for c in wanted))

    def _loaded_rows(self) -> list[Any]:
        return [*self._rows.objects.values(), *self._rows.parts.values()]

    async def _load_holders(self, contents: Collection[UploadId], sharers: int) -> set[UploadId]:
        """Load the holders that decide; return the completed uploads that they may drop."""
        whole: set[UploadId] = set()
        for found in await self._fetch("load_holders", list(contents), sharers + 2):
            holder: HolderRow = holder_row(found)
            self._rows.holders.setdefault(holder.content_id, {})[holder.holder] = holder
            if holder.manifest is not None and holder.manifest.parts:
                whole.add(holder.content_id)
        return whole


def add_bucket(rows: Rows, bucket: BucketRow) -> None:
    """Remember a bucket by id and by name."""
    rows.buckets[bucket.bucket_id] = bucket
    rows.bucket_names[bucket.name] = bucket.bucket_id


def raise_floor(rows: Rows, stamp: int | None) -> None:
    """The transaction's stamp will be larger than this one."""
    rows.stamp_max = max(rows.stamp_max, stamp or 0)


def after_id(raw: bytes) -> bytes:
    """Return the smallest bytes above everything that begins with this id."""
    return (
        (int.from_bytes(raw, "big") + 1).to_bytes(len(raw), "big")
        if raw != b"\xff" * len(raw)
        else ID_RANGE_END
    )
