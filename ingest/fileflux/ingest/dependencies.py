"""What the operations are given: built once in `__main__`, faked in tests."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fileflux.core.changes import Change, Outcome
from fileflux.core.clock import Clock
from fileflux.core.ids import UploadId, new_id
from fileflux.core.model import StorageClass
from fileflux.ingest.access_log import AccessLog
from fileflux.ingest.admission import Admission
from fileflux.ingest.asynchronous import AsyncUploads
from fileflux.ingest.auth import AuthSettings, CredentialStore
from fileflux.ingest.basic import ArgonPasswords
from fileflux.ingest.bucket_directory import BucketDirectory
from fileflux.ingest.bundler import DirectWriter, UploadEngine
from fileflux.ingest.event_service import EventService
from fileflux.ingest.reading import ManifestLookup, ObjectReader
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.webhook_ports import WebhookAdmin


class GroupWriter(DirectWriter, Protocol):
    """The direct writer as operations see it."""

    async def submit_together(self, *changes: Change) -> tuple[Outcome, ...]:
        """Return the outcomes of changes that one transaction made, in order; raise as `submit`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """Everything below HTTP. `classes`: storage classes by name; `default_class` names one.

    `history`: a reader of audit blocks that left the database, too.
    """

    engine: UploadEngine
    direct: GroupWriter
    reader: MetadataReader
    buckets: BucketDirectory
    lookup: ManifestLookup
    objects: ObjectReader
    admission: Admission
    asynchronous: AsyncUploads | None
    credentials: CredentialStore
    passwords: ArgonPasswords
    auth: AuthSettings
    events: EventService
    access: AccessLog
    webhooks: WebhookAdmin
    history: MetadataReader
    clock: Clock
    classes: Mapping[str, StorageClass]
    default_class: str
    master_key: bytes = field(repr=False)
    open_registration: bool = False
    rng: random.Random = field(default_factory=random.SystemRandom)

    async def hash_password(self, password: str) -> str:
        """The Argon2 hash to store; raise SlowDown when too many are made."""
        return await self.passwords.hash(password)

    def storage_class(self, name: str) -> StorageClass:
        """The class of this name; one that left the settings falls back to the default."""
        return self.classes.get(name) or self.classes[self.default_class]

    def new_upload_id(self) -> UploadId:
        return UploadId(new_id(self.rng))
