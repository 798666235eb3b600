"""What `load_rows` reads, over a view of dictionaries. It loads the least that `Rows` promises."""

from collections.abc import Iterable
from typing import Any

from fileflux.core.ids import BucketId, UploadId, UserId
from fileflux.metadata.memory_content import ContentLoader
from fileflux.metadata.memory_tables import MemoryView
from fileflux.metadata.parts_budget import USUAL, Limits
from fileflux.metadata.row_keys import object_floor_key
from fileflux.metadata.rows import (
    BucketRow,
    Footprint,
    ObjectKey,
    ObjectRow,
    PartRow,
    Rows,
    UserRow,
)


def load_rows(
    view: MemoryView, footprint: Footprint, *, clock_us: int, limits: Limits = USUAL
) -> Rows:
    """Return what a transaction reads for a footprint."""
    loader = _Loader(view, footprint, Rows(clock_us=clock_us), limits)
    loader.load()
    ContentLoader(view, loader.rows, footprint, limits).load()
    return loader.rows


class _Loader:
    def __init__(self, view: MemoryView, footprint: Footprint, rows: Rows, limits: Limits) -> None:
        self._view = view
        self._footprint = footprint
        self._limits = limits
        self.rows = rows

    def load(self) -> None:
        self._load_accounts()
        self._load_buckets()
        self._load_objects()
        self._load_uploads()
        self._load_emptiness()
        self._load_kept()

    def _load_accounts(self) -> None:
        needs = self._footprint
        for user_id in needs.user_ids:
            self._add_user(self._view.get("users", (user_id,)))
        for name in needs.user_names:
            for user in self._named("users", name):
                self._add_user(user)
            self._read_floor("users", name.encode())
        for access_key in needs.access_keys:
            if (key := self._view.get("access_keys", (access_key,))) is not None:
                self.rows.keys[access_key] = key
            self._read_floor("access_keys", access_key.encode())
        for user_id in needs.leaving_users:
            self._load_belongings(user_id)
        for node_id in needs.node_ids:
            if (node := self._view.get("nodes", (node_id,))) is not None:
                self.rows.nodes[node_id] = node

    def _named(self, table: str, name: str) -> list[Any]:
        return [row for _, row in self._view.where(table, lambda _, row: row.name == name)]

    def _add_user(self, user: UserRow | None) -> None:
        if user is not None:
            self.rows.users[user.user_id] = user
            self.rows.user_names[user.name] = user.user_id

    def _load_belongings(self, user_id: UserId) -> None:
        for _, key in self._view.where("access_keys", lambda _, row: row.user_id == user_id):
            self.rows.keys[key.access_key] = key
        owned = self._view.where("buckets", lambda _, row: row.owner_id == user_id)
        self.rows.owned_buckets[user_id] = len(owned)

    def _load_buckets(self) -> None:
        for bucket_id in self._footprint.bucket_ids:
            self._add_bucket(self._view.get("buckets", (bucket_id,)))
        for name in self._footprint.bucket_names:
            for bucket in self._named("buckets", name):
                self._add_bucket(bucket)
            self._read_floor("buckets", name.encode())

    def _add_bucket(self, bucket: BucketRow | None) -> None:
        if bucket is not None:
            self.rows.buckets[bucket.bucket_id] = bucket
            self.rows.bucket_names[bucket.name] = bucket.bucket_id

    def _load_objects(self) -> None:
        for place in self._footprint.objects | self._footprint.sources:
            if (row := self._view.get("objects", place)) is not None:
                self.rows.objects[place] = row
            self._read_floor("objects", object_floor_key(*place))
        for upload_id in self._footprint.async_ids:
            if (accepted := self._view.get("async_uploads", (upload_id,))) is not None:
                self.rows.async_uploads[upload_id] = accepted

    def _load_uploads(self) -> None:
        for upload_id, numbers in self._footprint.multiparts.items():
            if (upload := self._view.get("uploads", (upload_id,))) is not None:
                self.rows.uploads[upload_id] = upload
            if numbers is None:
                self._load_all_parts(upload_id)
            else:
                self._add_parts(self._view.get("parts", (upload_id, n)) for n in numbers)

    def _load_all_parts(self, upload_id: UploadId) -> None:
        self._add_parts(part for _, part in self._view.begins_with("parts", upload_id))

    def _add_parts(self, parts: Iterable[PartRow | None]) -> None:
        for part in parts:
            if part is not None:
                self.rows.parts[(part.upload_id, part.part_number)] = part

    def _load_emptiness(self) -> None:
        for bucket_id in self._footprint.emptiness:
            if self._has_other_objects(bucket_id):
                self.rows.non_empty.add(bucket_id)
            self._read_floors_in(bucket_id)
            self._load_uploads_in(bucket_id)

    def _read_floors_in(self, bucket_id: BucketId) -> None:
        for _, floor in self._view.where(
            "floors", lambda key, _: key[0] == "objects" and key[1].startswith(bucket_id)
        ):
            self._raise_stamp(floor.stamp)

    def _load_uploads_in(self, bucket_id: BucketId) -> None:
        uploads = self._view.where("uploads", lambda _, row: row.bucket_id == bucket_id)
        for _, upload in uploads:
            self._raise_stamp(upload.row_stamp)
        still_open = [upload for _, upload in uploads if upload.state == "open"]
        left = self._limits.parts
        for upload in still_open[: self._limits.uploads]:
            parts = self._view.begins_with("parts", upload.upload_id)
            left -= len(parts)
            if left < 0:
                break
            self._add_parts(part for _, part in parts)
            self.rows.uploads[upload.upload_id] = upload
            self.rows.open_uploads.setdefault(bucket_id, set()).add(upload.upload_id)

    def _has_other_objects(self, bucket_id: BucketId) -> bool:
        found: list[tuple[ObjectKey, ObjectRow]] = self._view.begins_with("objects", bucket_id)
        return any(place not in self._footprint.objects for place, _ in found)

    def _load_kept(self) -> None:
        for place in self._footprint.deletions:
            if (
                floor := self._view.get("floors", ("objects", object_floor_key(*place)))
            ) is not None:
                self.rows.deletions[place] = floor.stamp
        for hold_id in self._footprint.hold_ids:
            if (hold := self._view.get("history_holds", (hold_id,))) is not None:
                self.rows.holds[hold_id] = hold
        for bundle_id in self._footprint.garbage:
            for key, garbage in self._view.begins_with("garbage", bundle_id):
                self.rows.garbage[(key[0], key[1])] = garbage
                self._raise_stamp(garbage.at_us)

    def _read_floor(self, table: str, key: bytes) -> None:
        floor = self._view.get("floors", (table, key))
        if floor is not None:
            self._raise_stamp(floor.stamp)

    def _raise_stamp(self, stamp: int) -> None:
        self.rows.stamp_max = max(self.rows.stamp_max, stamp)
