"""Make seals and bundles of this incarnation: their ids, their events."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from fileflux.core.clock import Clock
from fileflux.core.ids import BundleId, Incarnation, SealId, new_id
from fileflux.core.model import SealedBundle, SizeClass, StorageClass
from fileflux.events.codec import encode_events
from fileflux.events.schema import UploadsSealed
from fileflux.ingest.assigner import Choice
from fileflux.ingest.database_clock import DatabaseClock
from fileflux.ingest.seals import OpenSeal, OpenSeals, WatchedBundle
from fileflux.ingest.upload import StoredChange
from fileflux.metadata.seals import SEAL_LIFE_US


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this ingest is on the pipeline."""

    incarnation: Incarnation
    lane: int


class Sealing:
    """Makes what is new; knows the time and the randomness."""

    def __init__(
        self,
        identity: Identity,
        *,
        seals: OpenSeals,
        clock: Clock,
        database_clock: DatabaseClock,
        rng: random.Random,
        silence_s: float = 0.5,
    ) -> None:
        self.identity = identity
        self._seals = seals
        self._clock = clock
        self._database_clock = database_clock
        self._rng = rng
        self._silence_s = silence_s

    def now_us(self) -> int:
        return self._clock.now_us()

    def new_bundle_id(self) -> BundleId:
        return BundleId(new_id(self._rng))

    def new_seal(self, storage_class: StorageClass, size_class: SizeClass) -> OpenSeal:
        return OpenSeal(
            seal_id=SealId(new_id(self._rng)),
            storage_class=storage_class,
            size_class=size_class,
            settled=asyncio.get_running_loop().create_future(),
        )

    def watch(
        self, seal: OpenSeal, bundle_id: BundleId, choice: Choice, *, size: int, crc: int
    ) -> WatchedBundle:
        """Count the commits of a staged bundle from now on."""
        sealed = SealedBundle(
            bundle_id=bundle_id,
            size=size,
            crc=crc,
            size_class=seal.size_class,
            epoch=choice.epoch,
            set_number=choice.set_number,
            nodes=tuple(choice.nodes),
        )
        bundle = WatchedBundle(
            sealed=sealed,
            seal_id=seal.seal_id,
            storage_class=seal.storage_class,
            ask_at_s=self._clock.monotonic_s() + self._silence_s,
            trace=seal.trace,
        )
        self._seals.watch(seal, bundle)
        return bundle

    def seal_record(self, seal: OpenSeal, changes: Sequence[StoredChange], now_us: int) -> bytes:
        """Return the sealed event's bytes: all bundles staged, all bodies verified."""
        seal.upload_ids = tuple(change.upload_id for change in changes)
        event = UploadsSealed(
            seal_id=seal.seal_id,
            incarnation=self.identity.incarnation,
            lane=self.identity.lane,
            size_class=seal.size_class,
            storage_class=seal.storage_class.name,
            replicas=seal.storage_class.replicas,
            quorum=seal.storage_class.quorum,
            deadline_us=self._database_clock.now_us() + SEAL_LIFE_US,
            sealed_us=now_us,
            bundles=tuple(bundle.sealed for bundle in seal.bundles),
            changes=tuple(changes),
        )
        return encode_events([event])
