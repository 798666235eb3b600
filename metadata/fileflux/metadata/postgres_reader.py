"""Readers' door on a database that speaks PostgreSQL's protocol: each call is one statement."""

from collections.abc import Sequence
from typing import Final

import asyncpg

from fileflux.core.errors import Corrupt, FormatInvalid
from fileflux.core.ids import BucketId, BundleId, NodeId, UploadId, UserId
from fileflux.core.model import Manifest
from fileflux.metadata.listing import (
    group_of,
    group_uploads,
    page_of,
    page_start,
    prefix_end,
)
from fileflux.metadata.ports import FoundObject, ListedKeys
from fileflux.metadata.postgres_fetch import is_storable
from fileflux.metadata.postgres_loads import ID_RANGE_END
from fileflux.metadata.postgres_pipeline_reader import PipelineReader
from fileflux.metadata.rows import BucketRow, KeyRow, ObjectRow, PartRow, UploadRow, UserRow
from fileflux.metadata.rows_codec import (
    bucket_row,
    key_row,
    listed_row,
    object_row,
    part_row,
    upload_row,
    user_row,
)

UPLOADS_READ_FACTOR: Final = 4
"""A page of uploads reads at most so many times its length; with a delimiter it may be short."""
NOT_FOUND: Final = FoundObject(bucket=None, row=None, replicas={})


class PostgresReader(PipelineReader):
    """The port `MetadataReader`: here what clients ask for, there what the pipeline does."""

    async def find_objects(self, wanted: Sequence[tuple[str, bytes]]) -> list[FoundObject]:
        asked = [(n, *pair) for n, pair in enumerate(wanted) if is_storable(pair[0])]
        columns = [list(column) for column in zip(*asked, strict=True)] or [[], [], []]
        answers = [NOT_FOUND] * len(wanted)
        for found in await self._fetch("find_objects", *columns):
            answers[found["n"]] = _found_object(found)
        return answers

    async def find_buckets(self, names: Sequence[str]) -> dict[str, BucketRow]:
        found = await self._fetch("find_buckets", [name for name in names if is_storable(name)])
        return {record["name"]: bucket_row(record) for record in found}

    async def list_buckets(self, owner_id: UserId) -> list[BucketRow]:
        return [bucket_row(found) for found in await self._fetch("list_buckets", owner_id)]

    async def buckets_notifying(self, owner_id: UserId, destination: str) -> list[BucketRow]:
        found = await self._fetch("buckets_notifying", owner_id, destination)
        return [bucket_row(one) for one in found]

    async def list_objects(
        self, bucket_id: BucketId, *, prefix: bytes, delimiter: bytes, after: bytes, max_keys: int
    ) -> ListedKeys:
        start = page_start(prefix, delimiter, after)
        bounds = (bucket_id, start, prefix_end(prefix))
        if max_keys < 1:
            return ListedKeys((), (), truncated=False, next_after=None)
        if not delimiter:
            records = await self._fetch("list_objects", *bounds, max_keys + 1)
            entries = [(record["key"], listed_row(record, bucket_id)) for record in records]
            return page_of(entries, max_keys=max_keys)
        records = await self._fetch(
            "list_objects_grouped",
            *bounds,
            delimiter,
            len(prefix) + 1,
            prefix_end(delimiter),
            max_keys + 1,
        )
        grouped = [_grouped(record, bucket_id, prefix, delimiter) for record in records]
        return page_of(grouped, max_keys=max_keys)

    async def replicas_of(
        self, bundle_ids: Sequence[BundleId]
    ) -> dict[BundleId, tuple[NodeId, ...]]:
        nodes: dict[BundleId, tuple[NodeId, ...]] = {}
        for found in await self._fetch("load_replicas", list(bundle_ids)):
            bundle_id = found["bundle_id"]
            nodes[bundle_id] = (*nodes.get(bundle_id, ()), found["node_id"])
        return nodes

    async def find_upload(self, upload_id: UploadId) -> UploadRow | None:
        found = await self._fetch("find_upload", upload_id)
        return upload_row(found[0]) if found else None

    async def list_parts(self, upload_id: UploadId, *, after: int, max_parts: int) -> list[PartRow]:
        found = await self._fetch("list_parts", upload_id, after, max_parts)
        return [part_row(record) for record in found]

    async def part_manifests(
        self, upload_id: UploadId, part_numbers: Sequence[int]
    ) -> dict[int, Manifest]:
        found = await self._fetch("part_manifests", upload_id, list(part_numbers))
        return {record["part_number"]: Manifest.from_bytes(record["manifest"]) for record in found}

    async def list_uploads(
        self,
        bucket_id: BucketId,
        *,
        prefix: bytes,
        delimiter: bytes,
        key_after: bytes,
        upload_after: bytes,
        max_uploads: int,
    ) -> tuple[list[UploadRow], list[bytes], bool]:
        if max_uploads < 1:
            return [], [], False
        start = page_start(prefix, delimiter, key_after)
        if upload_after and key_after.startswith(prefix):
            start = key_after
        last = (key_after, upload_after or ID_RANGE_END) if key_after else (b"", b"")
        limit = UPLOADS_READ_FACTOR * max_uploads + 1
        found = await self._fetch(
            "list_uploads", bucket_id, start, prefix_end(prefix), *last, limit
        )
        uploads, groups, truncated = group_uploads(
            [upload_row(record) for record in found],
            prefix=prefix,
            delimiter=delimiter,
            max_uploads=max_uploads,
        )
        return uploads, groups, truncated or len(found) == limit

    async def find_key(self, access_key: str) -> tuple[KeyRow, UserRow] | None:
        if not is_storable(access_key):
            return None
        found = await self._fetch("find_key", access_key)
        return _key_with_user(found[0]) if found else None

    async def find_user(self, name: str) -> UserRow | None:
        if not is_storable(name):
            return None
        found = await self._fetch("find_user", name)
        return user_row(found[0]) if found else None

    async def list_keys(self, user_id: UserId) -> list[KeyRow]:
        return [key_row(found) for found in await self._fetch("list_keys", user_id)]

    async def find_async(self, upload_id: UploadId) -> str | None:
        found = await self._fetch("find_async", upload_id)
        return found[0]["state"] if found else None


def _found_object(found: asyncpg.Record) -> FoundObject:
    bucket = bucket_row(found, "b_")
    try:
        row = None if found["key"] is None else object_row(found)
    except FormatInvalid as error:
        return FoundObject(bucket=bucket, row=None, replicas={}, problem=_corrupt(found, error))
    nodes = found["nodes"]
    replicas = {} if nodes is None else {found["bundle_id"]: tuple(nodes)}
    return FoundObject(bucket=bucket, row=row, replicas=replicas)


def _corrupt(found: asyncpg.Record, error: FormatInvalid) -> Corrupt:
    names = f"bucket {found['bucket_id'].hex()}, version {found['version_id'].hex()}"
    return Corrupt(f"an object's row cannot be read: {names}: {error}")


def _grouped(
    found: asyncpg.Record, bucket_id: BucketId, prefix: bytes, delimiter: bytes
) -> tuple[bytes, ObjectRow | None]:
    group = group_of(found["found_key"], prefix, delimiter)
    if group is not None:
        return group, None
    return found["key"], listed_row(found, bucket_id)


def _key_with_user(found: asyncpg.Record) -> tuple[KeyRow, UserRow]:
    key = KeyRow(
        access_key=found["access_key"],
        user_id=found["user_id"],
        secret=found["secret"],
        active=found["active"],
        created_us=found["created_us"],
        row_stamp=found["row_stamp"],
    )
    user = UserRow(
        user_id=found["user_id"],
        name=found["name"],
        password_hash=found["password_hash"],
        is_root=found["is_root"],
        created_us=found["user_created_us"],
        row_stamp=found["user_row_stamp"],
    )
    return key, user
