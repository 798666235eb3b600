"""What a decision needs to know about the seals that brought its changes.

A seal is accepted when its deadline has not passed, no bundle of it is dead and every bundle has
enough committed nodes; that is the materializer's to check. Here: which bundles become live, which
were live before (an earlier seal owns them), why a bundle lies where it lies, and the outcomes of
a seal that is not accepted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fileflux.core.changes import Change, Outcome
from fileflux.core.ids import BundleId
from fileflux.core.model import Manifest, SealedBundle
from fileflux.events.schema import BundleCommitted, UploadsSealed
from fileflux.metadata.rows import BundleRow

SEAL_LIFE_US: Final = 60_000_000
"""In database time. Longer than ingest waits, so that its abort always finds the seal alive."""

ABORTED = "Aborted"
"""The ingest gave up waiting and settled the seal itself."""
EXPIRED = "Expired"
"""The deadline passed, in database time, before enough nodes had committed."""
BUNDLE_DEAD = "BundleDead"
"""Garbage collection took a staged bundle before its seal arrived."""
FAILED = "Failed"
"""A change that cannot be applied whatever is tried: a dead letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedSeal:
    """A seal that this transaction applies, with what was read about its bundles.

    `states`: as `Transaction.load_bundle_states` answered, none of them dead. `commits`: the events
    seen, for their times; they may be incomplete, because W was counted in the rows.
    """

    seal: UploadsSealed
    states: Mapping[BundleId, str] = field(default_factory=dict)
    commits: Mapping[BundleId, tuple[BundleCommitted, ...]] = field(default_factory=dict)


def dead_bundles(seal: UploadsSealed, states: Mapping[BundleId, str]) -> list[BundleId]:
    """Return the seal's bundles that are dead. With any, the seal settles as BUNDLE_DEAD."""
    return [bundle.bundle_id for bundle in seal.bundles if states.get(bundle.bundle_id) == "dead"]


def refused_outcomes(
    changes: Sequence[Change], status: str, detail: str = ""
) -> tuple[Outcome, ...]:
    """Return the outcomes of a seal none of whose changes applies.

    No garbage: its bundles stay `staged`, and staged bundles die by themselves.
    """
    return tuple(
        Outcome(upload_id=change.upload_id, status=status, detail=detail) for change in changes
    )


def live_bundles(seals: Iterable[AcceptedSeal], at_us: int) -> list[BundleRow]:
    """Return the rows of the bundles that the seals make live."""
    return [
        BundleRow(
            bundle_id=bundle.bundle_id,
            size_class=bundle.size_class,
            state="live",
            wanted=accepted.seal.replicas,
            size=bundle.size,
            crc=bundle.crc,
            at_us=at_us,
        )
        for accepted in seals
        for bundle in accepted.seal.bundles
        if accepted.states.get(bundle.bundle_id) != "live"
    ]


class SealFacts:
    """The accepted seals by bundle."""

    def __init__(self, seals: Iterable[AcceptedSeal]) -> None:
        self._found: dict[BundleId, tuple[SealedBundle, AcceptedSeal]] = {
            bundle.bundle_id: (bundle, accepted)
            for accepted in seals
            for bundle in accepted.seal.bundles
        }

    def was_live(self, bundle_id: BundleId) -> bool:
        """Tell whether an earlier seal made this bundle live."""
        found = self._found.get(bundle_id)
        return found is not None and found[1].states.get(bundle_id) == "live"

    def placement_of(self, manifest: Manifest) -> list[dict[str, object]]:
        """Return, JSON-ready, where each bundle of a manifest lies and who decided it."""
        bundle_ids = dict.fromkeys(chunk.bundle_id for chunk in manifest.chunks)
        return [self._placement(bundle_id) for bundle_id in bundle_ids]

    def _placement(self, bundle_id: BundleId) -> dict[str, object]:
        found = self._found.get(bundle_id)
        if found is None:
            return {"bundle": bundle_id.hex()}
        bundle, accepted = found
        facts: dict[str, object] = {
            "bundle": bundle_id.hex(),
            "seal": accepted.seal.seal_id.hex(),
            "epoch": bundle.epoch,
            "set": bundle.set_number,
            "nodes": list(bundle.nodes),
            "size": bundle.size,
            "crc": bundle.crc,
            "size_class": int(bundle.size_class),
            "wanted": accepted.seal.replicas,
        }
        commits = accepted.commits.get(bundle_id)
        if commits:
            facts["commits"] = [_commit_times(commit) for commit in commits]
        return facts


def _commit_times(commit: BundleCommitted) -> dict[str, object]:
    return {
        "node": commit.node_id,
        "received_us": commit.received_us,
        "pulled_us": commit.pulled_us,
        "durable_us": commit.durable_us,
    }
