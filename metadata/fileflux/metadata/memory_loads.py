"""What `load_rows` reads, over a view of dictionaries. It loads the least that `Rows` promises."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from fileflux.core.ids import BucketId, UploadId, UserId
from fileflux.metadata.memory_tables import MemoryView
from fileflux.metadata.overlay import NO_HOLDER
from fileflux.metadata.row_keys import object_floor_key
from fileflux.metadata.rows import (
    CONTENT_DEPTH_MAX,
    BucketRow,
    Footprint,
    ObjectKey,
    ObjectRow,
    PartRow,
    Rows,
    UserRow,
    part_holder,
)


def load_rows(
    view: MemoryView, footprint: Footprint, *, clock_us: int, depth_max: int = CONTENT_DEPTH_MAX
) -> Rows:
    """Return what a transaction reads for a footprint."""
    loader = _Loader(view, footprint, Rows(clock_us=clock_us), depth_max)
    loader.load()
    return loader.rows


class _Loader:
    def __init__(self, view: MemoryView, footprint: Footprint, rows: Rows, depth_max: int) -> None:
        self._view = view
        self._depth_max = depth_max
        self._footprint = footprint
        self.rows = rows

    def load(self) -> None:
        self._load_accounts()
        self._load_buckets()
        self._load_objects()
        self._load_uploads()
        self._load_emptiness()
        self._load_content()

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
        for _, upload in self._view.where("uploads", lambda _, row: row.bucket_id == bucket_id):
            self._raise_stamp(upload.row_stamp)
            if upload.state == "open":
                self.rows.uploads[upload.upload_id] = upload
                self.rows.open_uploads.setdefault(bucket_id, set()).add(upload.upload_id)
                self._load_all_parts(upload.upload_id)

    def _has_other_objects(self, bucket_id: BucketId) -> bool:
        found: list[tuple[ObjectKey, ObjectRow]] = self._view.begins_with("objects", bucket_id)
        return any(place not in self._footprint.objects for place, _ in found)

    def _load_content(self) -> None:
        """Close the rows under what drops with them, until nothing new is found."""
        for place in self._footprint.objects:
            row = self.rows.objects.get(place)
            if row is not None and row.manifest.parts:
                self._load_all_parts(row.content_id)
        for depth in range(self._depth_max + 1):
            for content_id, own in self._own_holders().items():
                self._load_holders(content_id, own)
                if depth < self._depth_max:
                    self._load_parts_of_unheld(content_id, own)

    def _own_holders(self) -> dict[UploadId, set[bytes]]:
        """Return, for every shared content of a loaded row, the holders that loaded rows are."""
        own: defaultdict[UploadId, set[bytes]] = defaultdict(set)
        own.update({content_id: set() for content_id in self._footprint.contents})
        for row in self.rows.objects.values():
            if row.shared:
                own[row.content_id].add(row.version_id)
        for part in self.rows.parts.values():
            if part.shared:
                own[part.content_id].add(part_holder(part.upload_id, part.part_number))
        return own

    def _load_holders(self, content_id: UploadId, own: set[bytes]) -> None:
        found = self._view.begins_with("holders", content_id)[: len(own) + 2]
        self.rows.holders[content_id] = {row.holder: row for _, row in found}

    def _load_parts_of_unheld(self, content_id: UploadId, own: set[bytes]) -> None:
        holders = self.rows.holders[content_id]
        whole = holders.get(NO_HOLDER)
        if whole is None or whole.manifest is None:
            return
        if whole.manifest.parts and holders.keys() <= own | {NO_HOLDER}:
            self._load_all_parts(content_id)

    def _read_floor(self, table: str, key: bytes) -> None:
        floor = self._view.get("floors", (table, key))
        if floor is not None:
            self._raise_stamp(floor.stamp)

    def _raise_stamp(self, stamp: int) -> None:
        self.rows.stamp_max = max(self.rows.stamp_max, stamp)
