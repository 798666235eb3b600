"""Which rows a list of changes needs to read."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fileflux.core.changes import (
    AbortMultipart,
    AcceptAsync,
    Change,
    CompleteMultipart,
    ConfigureBucket,
    CopyObject,
    CopyPart,
    CreateBucket,
    CreateHold,
    CreateKey,
    CreateMultipart,
    CreateUser,
    DeleteBucket,
    DeleteKey,
    DeleteNewer,
    DeleteObject,
    DeleteUser,
    DropContent,
    PutObject,
    PutPart,
    ReleaseHold,
    RestoreVersion,
    SetKeyActive,
    SetNodeIntent,
    SetPassword,
)
from fileflux.core.ids import UploadId
from fileflux.metadata.rows import Footprint


def footprint(changes: Sequence[Change]) -> Footprint:
    """Return what `apply` must be given for these changes."""
    needs = _Needs()
    for change in changes:
        needs.add(change)
    return Footprint(**needs.found, multiparts=needs.multiparts)


class _Needs:
    def __init__(self) -> None:
        self._sets: defaultdict[str, set[Any]] = defaultdict(set)
        self.multiparts: dict[UploadId, frozenset[int] | None] = {}

    @property
    def found(self) -> dict[str, frozenset[Any]]:
        return {name: frozenset(values) for name, values in self._sets.items()}

    def add(self, change: Change) -> None:
        match change:
            case CreateUser() | SetPassword() | DeleteUser() | CreateKey():
                self._add_account(change)
            case SetKeyActive() | DeleteKey():
                self._sets["access_keys"].add(change.access_key)
            case SetNodeIntent():
                self._sets["node_ids"].add(change.node_id)
            case DropContent():
                self._sets["contents"].add(change.content_id)
            case CreateHold() | ReleaseHold():
                self._sets["hold_ids"].add(change.hold_id)
            case RestoreVersion():
                self._add_restore(change)
            case CreateBucket() | ConfigureBucket() | DeleteBucket():
                self._add_bucket(change)
            case PutObject() | DeleteObject() | DeleteNewer() | CopyObject() | AcceptAsync():
                self._add_object(change)
            case (
                CreateMultipart() | PutPart() | CopyPart() | CompleteMultipart() | AbortMultipart()
            ):
                self._add_upload(change)

    def _add_account(self, change: CreateUser | SetPassword | DeleteUser | CreateKey) -> None:
        self._sets["user_ids"].add(change.user_id)
        match change:
            case CreateUser():
                self._sets["user_names"].add(change.name)
            case DeleteUser():
                self._sets["leaving_users"].add(change.user_id)
            case CreateKey():
                self._sets["access_keys"].add(change.access_key)

    def _add_bucket(self, change: CreateBucket | ConfigureBucket | DeleteBucket) -> None:
        self._sets["bucket_ids"].add(change.bucket_id)
        match change:
            case CreateBucket():
                self._sets["bucket_names"].add(change.bucket)
                self._sets["user_ids"].add(change.owner_id)
            case DeleteBucket():
                self._sets["emptiness"].add(change.bucket_id)

    def _add_object(
        self, change: PutObject | DeleteObject | DeleteNewer | CopyObject | AcceptAsync
    ) -> None:
        self._sets["bucket_ids"].add(change.bucket_id)
        match change:
            case AcceptAsync():
                self._sets["async_ids"].add(change.upload_id)
                return
            case PutObject(is_async=True):
                self._sets["async_ids"].add(change.upload_id)
            case CopyObject():
                self._sets["sources"].add((change.source_bucket_id, change.source_key))
        self._sets["objects"].add((change.bucket_id, change.key))

    def _add_restore(self, change: RestoreVersion) -> None:
        self._sets["bucket_ids"].add(change.bucket_id)
        self._sets["objects"].add((change.bucket_id, change.key))
        if change.seen_version is None:
            self._sets["deletions"].add((change.bucket_id, change.key))
        for content in change.contents:
            self._sets["contents"].add(content.content_id)
            self._sets["copied"].update(p.content_id for p in content.parts if p.shared)
            manifests = (content.manifest, *(p.manifest for p in content.parts if not p.shared))
            bundles = (chunk.bundle_id for manifest in manifests for chunk in manifest.chunks)
            self._sets["garbage"].update(bundles)

    def _add_upload(
        self,
        change: CreateMultipart | PutPart | CopyPart | CompleteMultipart | AbortMultipart,
    ) -> None:
        self._sets["bucket_ids"].add(change.bucket_id)
        match change:
            case CreateMultipart():
                self._add_parts(change.upload_id, frozenset())
            case PutPart() | CopyPart():
                self._add_parts(change.multipart_id, frozenset((change.part_number,)))
            case CompleteMultipart():
                self._add_parts(change.multipart_id, None)
                self._sets["objects"].add((change.bucket_id, change.key))
            case AbortMultipart():
                self._add_parts(change.multipart_id, None)
        if isinstance(change, CopyPart):
            self._sets["sources"].add((change.source_bucket_id, change.source_key))

    def _add_parts(self, upload_id: UploadId, numbers: frozenset[int] | None) -> None:
        known = self.multiparts.get(upload_id, frozenset())
        both = None if known is None or numbers is None else known | numbers
        self.multiparts[upload_id] = both
