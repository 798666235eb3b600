"""What a transaction reads: the rows of a footprint, settlements, replicas.

A usual write (PUT, DELETE) needs one statement. Multipart uploads, shared content, accounts and
bucket changes add one statement each, only when the footprint names them.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

import asyncpg

from fileflux.core.ids import ID_SIZE_BYTES, BucketId, UploadId
from fileflux.core.model import Manifest
from fileflux.metadata.parts_budget import USUAL, PartsBudget
from fileflux.metadata.postgres_pool import Connection
from fileflux.metadata.queries import statement
from fileflux.metadata.row_keys import object_floor_key
from fileflux.metadata.rows import (
    Footprint,
    HolderRow,
    Rows,
)
from fileflux.metadata.rows_codec import (
    async_row,
    bucket_row,
    garbage_row,
    hold_row,
    holder_row,
    key_row,
    node_row,
    part_row,
    upload_row,
    user_row,
)
from fileflux.metadata.sealing_found import Records, add_bucket, raise_floor

ID_RANGE_END: Final = b"\xff" * 17
"""Above every 16-byte id."""


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
        found = await self._fetch("load_bucket_floor", bucket_id)
        raise_floor(self._rows, found[0]["stamp"])

    async def _load_open_uploads(self, bucket_ids: Sequence[BucketId]) -> None:
        for bucket_id in bucket_ids:
            left = USUAL.parts
            for found in await self._fetch("load_open_uploads", bucket_id, USUAL.uploads):
                upload = upload_row(found)
                parts = await self._fetch("list_parts", upload.upload_id, 0, left + 1)
                left -= len(parts)
                if left < 0:
                    break
                self._add_parts(parts)
                self._rows.uploads[upload.upload_id] = upload
                self._rows.open_uploads.setdefault(bucket_id, set()).add(upload.upload_id)

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
        if footprint.hold_ids:
            for found in await self._fetch("load_holds", list(footprint.hold_ids)):
                self._rows.holds[found["hold_id"]] = hold_row(found)
        if footprint.deletions:
            keys = [object_floor_key(*place) for place in footprint.deletions]
            for found in await self._fetch("load_deletions", keys):
                bucket_id, key = found["key"][:ID_SIZE_BYTES], found["key"][ID_SIZE_BYTES:]
                self._rows.deletions[(BucketId(bucket_id), key)] = found["stamp"]
        if footprint.garbage:
            for found in await self._fetch("load_garbage", list(footprint.garbage)):
                row = garbage_row(found)
                self._rows.garbage[(row.bundle_id, row.dropped_by)] = row
                raise_floor(self._rows, row.at_us)

    async def _load_content(self, footprint: Footprint) -> None:
        """Close the rows under "what drops with it" (see `Rows`), so deep as it says."""
        budget = PartsBudget(USUAL, always=footprint.contents)
        rows = (self._rows.objects.get(place) for place in sorted(footprint.objects))
        found = {row.content_id: row.manifest for row in rows if row is not None}
        known_sharers: Counter[UploadId] = Counter()
        for _ in range(USUAL.depth + 1):
            await self._load_all_parts([c for c, whole in found.items() if budget.take(c, whole)])
            sharers = Counter(row.content_id for row in self._loaded_rows() if row.shared)
            sharers.update(footprint.contents | footprint.copied)
            wanted = {content for content, n in sharers.items() if known_sharers[content] < n}
            known_sharers = sharers
            if not wanted:
                return
            found = await self._load_holders(wanted, max(sharers[c] for c in wanted))

    def _loaded_rows(self) -> list[Any]:
        return [*self._rows.objects.values(), *self._rows.parts.values()]

    async def _load_holders(
        self, contents: Collection[UploadId], sharers: int
    ) -> dict[UploadId, Manifest]:
        """Load the holders that decide; return the manifests of what they may drop."""
        whole: dict[UploadId, Manifest] = {}
        for found in await self._fetch("load_holders", list(contents), sharers + 2):
            holder: HolderRow = holder_row(found)
            self._rows.holders.setdefault(holder.content_id, {})[holder.holder] = holder
            if holder.manifest is not None:
                whole[holder.content_id] = holder.manifest
        return whole
