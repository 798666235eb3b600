"""What small and large uploads share: stage, tell, seal, wait, let go."""

import asyncio
from dataclasses import dataclass
from typing import Final

from fileflux.core.changes import Outcome
from fileflux.core.errors import QuorumNotReached
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import BundleId, UploadId
from fileflux.core.model import SizeClass
from fileflux.core.telemetry import SETTLE_SECONDS
from fileflux.ingest.assigner import Assigner, Choice
from fileflux.ingest.background import Background
from fileflux.ingest.release import Releaser
from fileflux.ingest.sealing import Sealing
from fileflux.ingest.seals import OpenSeal, OpenSeals, WatchedBundle
from fileflux.ingest.settling import Settler
from fileflux.ingest.staging import Staging
from fileflux.metadata.rows import Settlement
from fileflux.metadata.seals import ABORTED, BUNDLE_DEAD, EXPIRED

NOT_APPLIED: Final = frozenset({ABORTED, EXPIRED, BUNDLE_DEAD})
"""Outcomes of a seal that settled without any effect: the client may simply try again."""

SETTLE_LATENCIES: Final = {
    size_class: SETTLE_SECONDS.labels(size_class.name.lower()) for size_class in SizeClass
}
"""Kept: looking up a metric's child costs more than observing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Everything a flush needs, wired once."""

    staging: Staging
    seals: OpenSeals
    sealing: Sealing
    assigner: Assigner
    settler: Settler
    releaser: Releaser
    background: Background

    def staged(
        self, seal: OpenSeal, bundle_id: BundleId, choice: Choice, *, size: int, crc: int
    ) -> WatchedBundle:
        """A bundle is staged: count its commits and ask its nodes for them."""
        failpoint("ingest.after_stage")
        bundle = self.sealing.watch(seal, bundle_id, choice, size=size, crc=crc)
        self.assign(bundle)
        return bundle

    def assign(self, bundle: WatchedBundle) -> None:
        """Ask the nodes that were chosen for a bundle, in the background."""
        nodes = bundle.sealed.nodes
        self.background.spawn(self.assigner.assign(bundle, nodes), name="assign a bundle")

    async def settle(self, seal: OpenSeal, record: bytes) -> Settlement:
        """Publish a seal and return how it settled; raise SettlementUnknown.

        Its bundles leave the staging when the answer allows it. Cancelling leaves the seal to the
        materializer: it may apply.
        """
        started_s = asyncio.get_running_loop().time()
        try:
            self.settler.emit(seal, record)
            settlement = await self.settler.settled(seal)
        except BaseException:
            self.releaser.on_unknown(seal)
            raise
        else:
            self.releaser.on_settled(seal, applied=_is_applied(settlement))
        finally:
            self.seals.close(seal)
        SETTLE_LATENCIES[seal.size_class].observe(asyncio.get_running_loop().time() - started_s)
        return settlement

    def forget(self, seal: OpenSeal) -> None:
        """Drop a seal that was never published, with its staged bundles."""
        assert not seal.is_emitted, "it may apply"
        for bundle in seal.bundles:
            bundle.is_held = False
        self.releaser.on_settled(seal, applied=False)
        self.seals.close(seal)


def _is_applied(settlement: Settlement) -> bool:
    if settlement.aborted:
        return False
    return any(outcome.status not in NOT_APPLIED for outcome in settlement.outcomes)


def outcomes_of(settlement: Settlement) -> dict[UploadId, Outcome]:
    """Return the outcomes by upload; none at all of an aborted seal."""
    if settlement.aborted:
        return {}
    return {outcome.upload_id: outcome for outcome in settlement.outcomes}


def answer(outcomes: dict[UploadId, Outcome], upload_id: UploadId) -> Outcome:
    """Return the upload's outcome; raise QuorumNotReached when nothing of it applied."""
    outcome = outcomes.get(upload_id)
    if outcome is None or outcome.status in NOT_APPLIED:
        status = ABORTED if outcome is None else outcome.status
        raise QuorumNotReached(f"upload {upload_id.hex()}: {status}")
    return outcome
