"""The rows as a transaction read them, with the writes of its batch so far laid over them.

Two changes of one key in a batch must see each other, so every decision reads here and writes
here. What it writes is collected three ways: the last row per key for the tables, the effects of
the change at hand for its audit record, and the chunks that lost their last reference.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from fileflux.core.ids import BucketId, BundleId, UploadId, UserId
from fileflux.core.model import Chunk
from fileflux.metadata.garbage_book import GarbageBook
from fileflux.metadata.row_keys import RowKey, floor_of, key_of
from fileflux.metadata.rows import (
    AsyncRow,
    BucketRow,
    FloorRow,
    HolderRow,
    HoldRow,
    KeyRow,
    NodeRow,
    ObjectRow,
    PartRow,
    Row,
    Rows,
    RowWrite,
    UploadRow,
    UserRow,
)
from fileflux.metadata.seals import SealFacts

NO_HOLDER: Final = b""
"""The holder of the row that keeps a shared content's manifest."""


def next_stamp(rows: Rows) -> int:
    """Return the transaction's stamp: one more than everything it read, clock included."""
    return 1 + max(rows.clock_us, rows.stamp_max, *_row_stamps(rows))


def _row_stamps(rows: Rows) -> Iterator[int]:
    tables: tuple[Iterable[Row], ...] = (
        rows.buckets.values(),
        rows.objects.values(),
        rows.uploads.values(),
        rows.parts.values(),
        rows.users.values(),
        rows.keys.values(),
        rows.nodes.values(),
        rows.async_uploads.values(),
        rows.holds.values(),
        *(holders.values() for holders in rows.holders.values()),
    )
    for table in tables:
        for row in table:
            yield row.row_stamp


class Overlay:
    """State of one batch. Read the mappings; write through the methods only."""

    def __init__(self, rows: Rows, seals: SealFacts, *, after_stamp: int = 0) -> None:
        """`after_stamp`: the batch's stamp is larger, though no row that was read says so."""
        self.seals = seals
        self.stamp = max(next_stamp(rows), 1 + after_stamp)
        self.clock_us = rows.clock_us
        self.buckets = dict(rows.buckets)
        self.bucket_names = dict(rows.bucket_names)
        self.objects = dict(rows.objects)
        self.uploads = dict(rows.uploads)
        self._parts: dict[UploadId, dict[int, PartRow]] = {}
        for part in rows.parts.values():
            self._parts.setdefault(part.upload_id, {})[part.part_number] = part
        self.holders = {content: dict(holders) for content, holders in rows.holders.items()}
        self.users = dict(rows.users)
        self.user_names = dict(rows.user_names)
        self.keys = dict(rows.keys)
        self.nodes = dict(rows.nodes)
        self.async_uploads = dict(rows.async_uploads)
        self.holds = dict(rows.holds)
        self.garbage = GarbageBook(rows.garbage)
        self.deletions = dict(rows.deletions)
        self.usage: dict[BucketId, tuple[int, int]] = {}
        self._change_usage: dict[BucketId, tuple[int, int]] = {}
        self.written: dict[tuple[str, RowKey], RowWrite] = {}
        self.floors: dict[tuple[str, bytes], FloorRow] = {}
        self._effects: list[RowWrite] = []
        self._non_empty = rows.non_empty
        self._whole_uploads = set[UploadId]().union(*rows.open_uploads.values())
        self._owned_buckets = Counter(rows.owned_buckets)
        self._kept: set[tuple[BundleId, int]] = set()

    def put(self, row: Row) -> None:
        """Store a row in place of the one with its key."""
        self._forget(row)
        self._remember(row)
        self._write(RowWrite(*key_of(row), row))

    def remove(self, row: Row) -> None:
        """Remove a row; the floor that it leaves goes with the batch."""
        self._forget(row)
        self._write(RowWrite(*key_of(row), None))
        floor = floor_of(row, self.stamp)
        if floor is not None:
            self.floors[(floor.table, floor.key)] = floor

    def keep(self, chunks: Iterable[Chunk]) -> None:
        """Remember chunks that this batch stores or finds stored, for `discard_staged`."""
        self._kept.update((chunk.bundle_id, chunk.number) for chunk in chunks)

    def discard_staged(self, chunks: Iterable[Chunk], by: UploadId) -> None:
        """Make garbage of what a refused change has staged.

        A change may come a second time, in another seal over the same bundles. What the first one
        stored is not garbage because the second one is superfluous.
        """
        self.discard(
            (
                chunk
                for chunk in chunks
                if not self.seals.was_live(chunk.bundle_id)
                and (chunk.bundle_id, chunk.number) not in self._kept
            ),
            by,
        )

    def discard(self, chunks: Iterable[Chunk], by: UploadId) -> None:
        """Make garbage of chunks that nobody references any more."""
        self.garbage.add(chunks, by)

    def take_effects(self) -> tuple[RowWrite, ...]:
        """Return what was written since the last call: the effects of one change."""
        effects = tuple(self._effects)
        self._effects.clear()
        return effects

    def take_usage(self) -> dict[BucketId, tuple[int, int]]:
        """Return what one change added to its buckets' (objects, bytes); no entry for nothing."""
        usage = {bucket: delta for bucket, delta in self._change_usage.items() if any(delta)}
        self._change_usage.clear()
        return usage

    def is_empty(self, bucket_id: BucketId) -> bool:
        """Tell whether a bucket of `Footprint.emptiness` has no object now."""
        if bucket_id in self._non_empty:
            return False
        return all(bucket != bucket_id for bucket, _ in self.objects)

    def open_uploads(self, bucket_id: BucketId) -> list[UploadRow]:
        """Return a bucket's open uploads of which all parts are here: read, or made just now."""
        found = (self.uploads.get(upload_id) for upload_id in sorted(self._whole_uploads))
        return [
            upload
            for upload in found
            if upload and upload.bucket_id == bucket_id and upload.state == "open"
        ]

    def part(self, upload_id: UploadId, part_number: int) -> PartRow | None:
        return self._parts.get(upload_id, {}).get(part_number)

    def parts_of(self, upload_id: UploadId) -> list[PartRow]:
        return list(self._parts.get(upload_id, {}).values())

    def keys_of(self, user_id: UserId) -> list[KeyRow]:
        return [key for key in self.keys.values() if key.user_id == user_id]

    def owns_buckets(self, user_id: UserId) -> bool:
        return self._owned_buckets[user_id] > 0

    def _write(self, write: RowWrite) -> None:
        self._effects.append(write)
        self.written[(write.table, write.key)] = write

    def _remember(self, row: Row) -> None:
        match row:
            case ObjectRow():
                self.objects[(row.bucket_id, row.key)] = row
                self._count(row, 1)
            case PartRow():
                self._parts.setdefault(row.upload_id, {})[row.part_number] = row
            case HolderRow():
                self.holders.setdefault(row.content_id, {})[row.holder] = row
            case UploadRow():
                self._whole_uploads.add(row.upload_id)  # Open ones are put when they are made.
                self.uploads[row.upload_id] = row
            case BucketRow():
                self.buckets[row.bucket_id] = row
                self.bucket_names[row.name] = row.bucket_id
                self._owned_buckets[row.owner_id] += 1
            case UserRow():
                self.users[row.user_id] = row
                self.user_names[row.name] = row.user_id
            case KeyRow():
                self.keys[row.access_key] = row
            case NodeRow():
                self.nodes[row.node_id] = row
            case AsyncRow():
                self.async_uploads[row.upload_id] = row
            case HoldRow():
                self.holds[row.hold_id] = row

    def _forget(self, row: Row) -> None:
        """Take the stored row with this row's key away, if there is one."""
        match row:
            case ObjectRow():
                object_row = self.objects.pop((row.bucket_id, row.key), None)
                if object_row is not None:
                    self._count(object_row, -1)
            case PartRow():
                self._parts.get(row.upload_id, {}).pop(row.part_number, None)
            case HolderRow():
                self.holders.get(row.content_id, {}).pop(row.holder, None)
            case BucketRow():
                bucket = self.buckets.pop(row.bucket_id, None)
                if bucket is not None:
                    self.bucket_names.pop(bucket.name, None)
                    self._owned_buckets[bucket.owner_id] -= 1
            case UserRow():
                user = self.users.pop(row.user_id, None)
                if user is not None:
                    self.user_names.pop(user.name, None)
            case KeyRow():
                self.keys.pop(row.access_key, None)
            case HoldRow():
                self.holds.pop(row.hold_id, None)
            case _:
                pass  # Uploads, nodes and asynchronous uploads are replaced, never removed here.

    def _count(self, row: ObjectRow, sign: int) -> None:
        for usage in (self.usage, self._change_usage):
            objects, size = usage.get(row.bucket_id, (0, 0))
            usage[row.bucket_id] = (objects + sign, size + sign * row.size)
