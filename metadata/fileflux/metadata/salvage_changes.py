"""The changes that a salvage writes: what their uploads asked for, with where the bytes are. Pure.

They are decided by `apply` as every change is, each as of its own time; so the records that come of
them are those of a history, marked, and a rebuild from them ends with the same rows.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fileflux.core.bundle_records import MultipartRecord
from fileflux.core.changes import (
    Actor,
    Change,
    CompletedPart,
    CompleteMultipart,
    CreateBucket,
    CreateMultipart,
    CreateUser,
    PutObject,
    PutPart,
)
from fileflux.core.ids import ID_SIZE_BYTES, BundleId, Incarnation, SealId, UploadId, UserId
from fileflux.core.model import HopTimes, ObjectMeta, SealedBundle, StorageClass
from fileflux.events.schema import UploadsSealed
from fileflux.metadata.salvage_evidence import FoundBundle
from fileflux.metadata.salvage_plan import NewBucket, SalvagedMultipart
from fileflux.metadata.salvage_uploads import FoundUpload
from fileflux.metadata.seals import AcceptedSeal

USER_AGENT: Final = "fileflux salvage"
NOBODY: Final = Incarnation(bytes(ID_SIZE_BYTES))
Bundles = Mapping[BundleId, FoundBundle]


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom everything belongs whose owner nobody knows: root."""

    user_id: UserId
    name: str

    @property
    def actor(self) -> Actor:
        return Actor(self.user_id, self.name, "", user_agent=USER_AGENT)


@dataclass(frozen=True, slots=True)
class Step:
    """Changes that are decided together, as of `at_us`."""

    at_us: int
    changes: tuple[Change, ...]
    seals: tuple[AcceptedSeal, ...] = ()


def owner_step(owner: Owner, at_us: int) -> Step:
    """Make the owner, without password and keys: ingest gives root those of its settings."""
    change = CreateUser(
        upload_id=derived_id(owner.user_id, b"user"),
        actor=owner.actor,
        at_us=at_us,
        user_id=owner.user_id,
        name=owner.name,
        password_hash="",
        is_root=True,
    )
    return Step(at_us, (change,))


def bucket_step(bucket: NewBucket, owner: Owner) -> Step:
    change = CreateBucket(
        upload_id=derived_id(bucket.bucket_id, b"bucket"),
        actor=owner.actor,
        at_us=bucket.created_us,
        bucket_id=bucket.bucket_id,
        bucket=bucket.name,
        owner_id=owner.user_id,
        storage_class=bucket.storage_class,
    )
    return Step(bucket.created_us, (change,))


class StepMaker:
    """Makes the steps of uploads. `classes`: how many replicas each storage class wants.

    `accepted`: uploads that the stream says were answered with 202 and are still to be settled.
    """

    def __init__(
        self,
        bundles: Bundles,
        owner: Owner,
        classes: Mapping[str, StorageClass],
        accepted: Collection[UploadId] = (),
    ) -> None:
        self._accepted = accepted
        self._bundles = bundles
        self._owner = owner
        self._classes = classes

    def step(self, write: FoundUpload | SalvagedMultipart) -> Step:
        if isinstance(write, FoundUpload):
            return Step(write.at_us, (self._put_object(write),), self._seals([write]))
        return self._multipart(write)

    def lacks(self, storage_class: str) -> bool:
        return storage_class not in self._classes

    def wanted(self, storage_class: str, held: int) -> int:
        """Return how many replicas a class has; of one that nobody defines, as many as there are.

        At least as many as were written before an upload was answered: so a lost one is noticed.
        """
        known = self._classes.get(storage_class)
        return held if known is None else known.replicas

    def _put_object(self, upload: FoundUpload) -> PutObject:
        meta, record = upload.meta, upload.said
        return PutObject(
            upload_id=meta.upload_id,
            actor=self._owner.actor,
            at_us=record.at_us,
            bucket_id=meta.bucket_id,
            bucket=meta.bucket,
            key=meta.key,
            size=record.size,
            etag=record.etag,
            meta=record.meta,
            manifest=upload.content,
            storage_class=record.storage_class,
            hops=_hops(upload),
            is_async=meta.upload_id in self._accepted,
        )

    def _multipart(self, write: SalvagedMultipart) -> Step:
        at_us = write.order[0]
        changes: list[Change] = [self._create(write)] if write.is_new else []
        changes += [self._put_part(part) for part in write.parts]
        if write.listed:
            changes.append(self._complete(write))
        return Step(at_us, tuple(changes), self._seals(write.parts))

    def _create(self, write: SalvagedMultipart) -> CreateMultipart:
        meta, record = write.parts[0].meta, write.parts[0].said
        nothing = MultipartRecord(
            meta=ObjectMeta(), checksum_algorithm="", checksum_type="", created_us=record.at_us
        )
        origin = record.multipart or nothing
        return CreateMultipart(
            upload_id=write.multipart_id,
            actor=self._owner.actor,
            at_us=origin.created_us,
            bucket_id=meta.bucket_id,
            bucket=meta.bucket,
            key=meta.key,
            meta=origin.meta,
            storage_class=record.storage_class,
            checksum_algorithm=origin.checksum_algorithm,
            checksum_type=origin.checksum_type,
        )

    def _put_part(self, part: FoundUpload) -> PutPart:
        meta, record = part.meta, part.said
        assert meta.multipart_id is not None, "a part names its upload"
        return PutPart(
            upload_id=meta.upload_id,
            actor=self._owner.actor,
            at_us=record.at_us,
            bucket_id=meta.bucket_id,
            bucket=meta.bucket,
            key=meta.key,
            multipart_id=meta.multipart_id,
            part_number=meta.part_number,
            size=record.size,
            etag=record.etag,
            meta=record.meta,
            manifest=part.content,
            hops=_hops(part),
        )

    def _complete(self, write: SalvagedMultipart) -> CompleteMultipart:
        meta = write.parts[0].meta
        return CompleteMultipart(
            upload_id=derived_id(write.multipart_id, b"complete"),
            actor=self._owner.actor,
            at_us=write.order[0],
            bucket_id=meta.bucket_id,
            bucket=meta.bucket,
            key=meta.key,
            multipart_id=write.multipart_id,
            parts=tuple(CompletedPart(number, etag) for number, etag in write.listed),
        )

    def _seals(self, uploads: Iterable[FoundUpload]) -> tuple[AcceptedSeal, ...]:
        return tuple(self._seal(upload) for upload in uploads)

    def _seal(self, upload: FoundUpload) -> AcceptedSeal:
        """Return a seal as if it had just been accepted: it says where the bundles lie."""
        ids = dict.fromkeys(chunk.bundle_id for chunk in upload.content.chunks)
        first = self._bundles[next(iter(ids))]
        held = max(len(self._bundles[bundle_id].holders) for bundle_id in ids)
        seal = UploadsSealed(
            seal_id=SealId(first.header.seal_id),
            incarnation=NOBODY,
            lane=0,
            size_class=first.header.size_class,
            storage_class=upload.said.storage_class,
            replicas=self.wanted(upload.said.storage_class, held),
            quorum=1,
            deadline_us=upload.at_us,
            sealed_us=upload.at_us,
            bundles=tuple(_sealed(self._bundles[bundle_id]) for bundle_id in ids),
            changes=(),
        )
        return AcceptedSeal(seal=seal)


def _sealed(bundle: FoundBundle) -> SealedBundle:
    size, crc = bundle.header.sealed
    return SealedBundle(
        bundle_id=bundle.header.bundle_id,
        size=size,
        crc=crc,
        size_class=bundle.header.size_class,
        epoch=0,
        set_number=0,
        nodes=tuple(sorted(bundle.holders)),
    )


def _hops(upload: FoundUpload) -> HopTimes:
    """When its last bundle was made is all that is known of the way."""
    return HopTimes(upload.said.at_us, upload.at_us, upload.at_us)


def derived_id(name: bytes, purpose: bytes) -> UploadId:
    """Return the id of a change that a salvage makes up: the same each time."""
    digest = hashlib.blake2b(name, digest_size=ID_SIZE_BYTES, person=purpose)
    return UploadId(digest.digest())
