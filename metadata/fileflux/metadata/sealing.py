"""The sealing transaction: replica rows, and the seals that have their quorum, through `apply`.

In this order for each seal: a settlement that stands is taken as it is; past its deadline, in the
database's time, it settles as expired; with a dead bundle it fails; without W distinct nodes whose
rows have the size and CRC that were sealed, it waits. Everything else takes effect, once, together
with the positions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from fileflux.core.changes import Outcome
from fileflux.core.ids import BundleId, NodeId
from fileflux.events.schema import BundleCommitted
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.failed_async import end_accepted
from fileflux.metadata.lane_readings import Moves
from fileflux.metadata.lanes import LaneBook
from fileflux.metadata.pending_seals import PendingSeal, PendingSeals, is_same, quorum_of
from fileflux.metadata.ports import SealingRows, Transaction
from fileflux.metadata.rows import ReplicaRow, Settlement
from fileflux.metadata.seals import (
    BUNDLE_DEAD,
    EXPIRED,
    FAILED,
    AcceptedSeal,
    dead_bundles,
    refused_outcomes,
)

Verdict = Literal["stored", "expired", "dead", "waiting", "applied", "failed"]


@dataclass(frozen=True, slots=True)
class Settled:
    """A seal and its settlement. `verdict`: how it came about."""

    pending: PendingSeal
    settlement: Settlement
    verdict: Verdict


@dataclass(slots=True)
class Sealing:
    """What one transaction did. `waiting`: seals without a quorum, with the nodes that count."""

    clock_us: int | None = None
    settled: list[Settled] = field(default_factory=list)
    waiting: list[tuple[PendingSeal, dict[BundleId, set[NodeId]]]] = field(default_factory=list)
    moves: Moves = field(default_factory=Moves)


class SealingTransaction:
    """The work of one transaction; `run` may be called again, for another attempt.

    `moves_offsets` False: only the turns are raised, since other seals of the step are still open.
    """

    def __init__(
        self,
        seals: Sequence[PendingSeal],
        commits: Sequence[BundleCommitted],
        *,
        book: LaneBook,
        pending: PendingSeals,
        moves_offsets: bool = True,
    ) -> None:
        self._seals = seals
        self._replicas = [replica_of(commit) for commit in commits]
        self._book = book
        self._pending = pending
        self._moves_offsets = moves_offsets
        self.attempted: Moves | None = None

    async def run(self, transaction: Transaction) -> Sealing:
        """Decide and store everything; what it returns holds only if the commit does."""
        sealing = Sealing()
        await transaction.store_replicas(self._replicas)
        if self._seals:
            await self._settle(transaction, sealing)
        sealing.moves = self._moves([settled.pending for settled in sealing.settled])
        self.attempted = sealing.moves
        await transaction.move_positions(sealing.moves.before, sealing.moves.after)
        return sealing

    async def _settle(self, transaction: Transaction, sealing: Sealing) -> None:
        found = await transaction.load_sealing(
            [pending.seal.seal_id for pending in self._seals],
            [bundle_id for pending in self._seals for bundle_id in pending.nodes],
            footprint([change for pending in self._seals for change in pending.seal.changes]),
        )
        sealing.clock_us = found.rows.clock_us
        accepted = [p for p in self._seals if _judge(p, found, sealing) == "applied"]
        new = [s.settlement for s in sealing.settled if s.verdict != "stored"]
        if accepted:
            new += await _apply(transaction, accepted, found, sealing)
        await transaction.store_settlements(new)

    def _moves(self, settled: list[PendingSeal]) -> Moves:
        if self._moves_offsets:
            return self._book.moves(self._pending, settled)
        return self._book.standing(settled)


def replica_of(commit: BundleCommitted) -> ReplicaRow:
    return ReplicaRow(
        bundle_id=commit.bundle_id,
        node_id=commit.node_id,
        epoch=commit.node_epoch,
        size=commit.size,
        crc=commit.crc,
    )


def _judge(pending: PendingSeal, found: SealingRows, sealing: Sealing) -> Verdict:
    """Settle what needs no decision; return the verdict."""
    seal = pending.seal
    stands = found.settlements.get(seal.seal_id)
    if stands is not None:
        sealing.settled.append(Settled(pending, stands, "stored"))
        return "stored"
    clock_us = found.rows.clock_us
    if clock_us > seal.deadline_us:
        sealing.settled.append(_refused(pending, "expired", EXPIRED, clock_us))
        return "expired"
    if dead_bundles(seal, found.bundle_states):
        sealing.settled.append(_refused(pending, "dead", BUNDLE_DEAD, clock_us))
        return "dead"
    nodes = _nodes_that_count(pending, found)
    if any(len(confirmed) < quorum_of(seal) for confirmed in nodes.values()):
        sealing.waiting.append((pending, nodes))
        return "waiting"
    return "applied"


def _refused(pending: PendingSeal, verdict: Verdict, status: str, clock_us: int) -> Settled:
    settlement = Settlement(
        seal_id=pending.seal.seal_id,
        outcomes=refused_outcomes(pending.seal.changes, status),
        aborted=True,
        settled_us=clock_us,
    )
    return Settled(pending, settlement, verdict)


def _nodes_that_count(pending: PendingSeal, found: SealingRows) -> dict[BundleId, set[NodeId]]:
    return {
        bundle.bundle_id: {
            replica.node_id
            for replica in found.replicas.get(bundle.bundle_id, ())
            if is_same(bundle, replica)
        }
        for bundle in pending.seal.bundles
    }


async def _apply(
    transaction: Transaction, accepted: list[PendingSeal], found: SealingRows, sealing: Sealing
) -> list[Settlement]:
    """Let the seals take effect; return their settlements."""
    changes = [change for pending in accepted for change in pending.seal.changes]
    writes, outcomes = apply(found.rows, changes, seals=[_accepted(p, found) for p in accepted])
    await transaction.store_writes(writes)
    settlements = []
    start = 0
    for pending in accepted:
        end = start + len(pending.seal.changes)
        settlement = _settlement(pending, outcomes[start:end], found.rows.clock_us)
        sealing.settled.append(Settled(pending, settlement, "applied"))
        settlements.append(settlement)
        start = end
    return settlements


def _accepted(pending: PendingSeal, found: SealingRows) -> AcceptedSeal:
    commits = {bundle_id: tuple(by_node.values()) for bundle_id, by_node in pending.commits.items()}
    return AcceptedSeal(seal=pending.seal, states=found.bundle_states, commits=commits)


def _settlement(pending: PendingSeal, outcomes: tuple[Outcome, ...], clock_us: int) -> Settlement:
    return Settlement(
        seal_id=pending.seal.seal_id, outcomes=outcomes, aborted=False, settled_us=clock_us
    )


async def settle_as_failed(
    transaction: Transaction, pending: PendingSeal, detail: str, *, ends_accepted: bool = True
) -> Settled:
    """Settle a seal whose changes cannot be applied, unless it is settled already.

    `ends_accepted`: its accepted uploads are over, too; that records some of what may be poison.
    """
    seal = pending.seal
    stands = (await transaction.load_settlements([seal.seal_id])).get(seal.seal_id)
    if stands is not None:
        return Settled(pending, stands, "stored")
    settlement = Settlement(
        seal_id=seal.seal_id,
        outcomes=refused_outcomes(seal.changes, FAILED, detail),
        aborted=False,
        settled_us=await transaction.clock_us(),
    )
    if ends_accepted:
        await end_accepted(transaction, seal.changes)
    await transaction.store_settlements([settlement])
    return Settled(pending, settlement, "failed")
