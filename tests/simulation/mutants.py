"""Bugs planted on purpose: the simulation is worth what it finds of them.

Each is a context in which one safeguard of the real code is gone. The tests require that schedules
find each of `MUTANTS` within its number of seeds. `HEALED` are those that the design makes
harmless, with the reason: nothing can find them, and nothing needs to.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from fileflux.core import bundle_view
from fileflux.core.changes import Outcome
from fileflux.core.ids import SealId, UploadId
from fileflux.ingest import release
from fileflux.metadata import apply_objects, direct, overlay, pending_seals, sealing
from fileflux.metadata import memory as memory_module
from fileflux.metadata import settle as settle_module
from fileflux.metadata.ports import SequencerHead
from fileflux.metadata.rows import Settlement
from fileflux.metadata.seals import ABORTED, refused_outcomes
from fileflux.storage_node import assignments

_memory: Any = memory_module

Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def _patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    before = [(holder, name, holder.__dict__[name]) for holder, name, _ in changes]
    for holder, name, value in changes:
        setattr(holder, name, value)
    try:
        yield
    finally:
        for holder, name, value in before:
            setattr(holder, name, value)


def _w_is_one() -> AbstractContextManager[None]:
    def quorum_of(_: Any) -> int:
        return 1

    return _patched((sealing, "quorum_of", quorum_of), (pending_seals, "quorum_of", quorum_of))


def _crc_not_compared() -> AbstractContextManager[None]:
    def is_same(_bundle: Any, _stored: Any) -> bool:
        return True

    return _patched((sealing, "is_same", is_same), (pending_seals, "is_same", is_same))


def _settlement_not_looked_up() -> AbstractContextManager[None]:
    """And the table has no key that would refuse the second one."""

    async def load_settlements(self: Any, _ids: Any) -> dict[SealId, Settlement]:
        await self.statement()
        return {}

    async def store_settlements(self: Any, settlements: Sequence[Settlement]) -> None:
        await self.statement()
        for settlement in settlements:
            self._view.put("settlements", (settlement.seal_id,), settlement)

    transaction = _memory.MemoryTransaction
    return _patched(
        (transaction, "load_settlements", load_settlements),
        (transaction, "store_settlements", store_settlements),
    )


def _no_abort_row() -> AbstractContextManager[None]:
    async def abort(_self: Any, seal_id: SealId, upload_ids: Sequence[UploadId]) -> Settlement:
        outcomes = tuple(Outcome(upload_id=upload_id, status=ABORTED) for upload_id in upload_ids)
        return Settlement(seal_id=seal_id, outcomes=outcomes, aborted=True, settled_us=0)

    return _patched((settle_module.SealAborter, "abort", abort))


def _ambiguous_commit_run_again() -> AbstractContextManager[None]:
    async def find_settlement(_database: Any, _seal_id: SealId) -> None:
        return None

    return _patched((direct, "find_settlement", find_settlement))


def _answer_before_fsync() -> AbstractContextManager[None]:
    async def append(self: Any, bundles: Sequence[Any]) -> Sequence[str | None]:
        asyncio.get_running_loop().create_task(self._store.write(bundles))
        return [None] * len(bundles)

    return _patched((assignments.Assignments, "_append", append))


def _pulled_bytes_not_verified() -> AbstractContextManager[None]:
    def finish(self: Any) -> Any:
        read_at = bundle_view.memory_reader(self._buffer)
        return self._buffer, bundle_view.read_index(read_at, with_meta=True)

    return _patched((bundle_view.BundleReceiver, "finish", finish))


def _head_without_compare_and_set() -> AbstractContextManager[None]:
    async def move_head(self: Any, _before: SequencerHead, after: SequencerHead) -> None:
        await self.statement()
        self._view.put("heads", (after.stream,), after)

    async def number_pending(self: Any, block_ids: Any, block: Any, sequences: Any) -> None:
        await self.statement()
        for block_id in block_ids:
            self._view.remove("audit_pending", (block_id,))
        self._view.put("audit_blocks", (block.stream, block.first_position), block)
        for bucket_id, sequence in sequences.items():
            self._view.put("sequences", (bucket_id,), sequence)

    transaction = _memory.MemoryTransaction
    return _patched(
        (transaction, "move_head", move_head), (transaction, "number_pending", number_pending)
    )


def _positions_without_compare_and_set() -> AbstractContextManager[None]:
    async def move_positions(self: Any, _before: Any, after: Any) -> None:
        await self.statement()
        for position in after:
            self._view.put("positions", (position.topic, position.partition), position)

    return _patched((_memory.MemoryTransaction, "move_positions", move_positions))


def _conditions_not_decided() -> AbstractContextManager[None]:
    def condition_failure(_row: Any, _conditions: Any) -> None:
        return None

    return _patched((apply_objects, "condition_failure", condition_failure))


def _garbage_forgotten() -> AbstractContextManager[None]:
    def drop_object(_state: Any, _row: Any, _by: Any) -> None:
        return None

    return _patched((apply_objects, "drop_object", drop_object))


def _stamp_is_the_clock() -> AbstractContextManager[None]:
    def next_stamp(rows: Any) -> int:
        return int(rows.clock_us)

    return _patched((overlay, "next_stamp", next_stamp))


def _staging_never_cleaned() -> AbstractContextManager[None]:
    async def delete(_self: Any, _ids: Any) -> None:
        return None

    return _patched((release.Releaser, "_delete", delete))


def _expired_seal_applies() -> AbstractContextManager[None]:
    """An expired seal tells its client no and has its effect nevertheless."""

    def refused(changes: Any, _status: str, detail: str = "") -> Any:
        return refused_outcomes(changes, "ok", detail)

    return _patched((sealing, "refused_outcomes", refused))


@dataclass(frozen=True, slots=True)
class Planted:
    """A mutant, and the faults under which it shows; they are on in every schedule of its hunt."""

    plant: Mutant
    faults: tuple[str, ...] = ()
    checks_staging: bool = False


MUTANTS: Final[dict[str, Planted]] = {
    "W is one": Planted(_w_is_one, ("node killed",)),
    "CRC not compared": Planted(_crc_not_compared, ("stray commits", "node full")),
    "settlement not looked up": Planted(_settlement_not_looked_up, ("broker doubles",)),
    "no abort row": Planted(_no_abort_row, ("materializer paused", "node full")),
    "answer before fsync": Planted(_answer_before_fsync, ("node killed",)),
    "pulled bytes not verified": Planted(_pulled_bytes_not_verified, ("bits flip",)),
    "head without compare-and-set": Planted(
        _head_without_compare_and_set, ("sequencer paused", "sequencer killed")
    ),
    "conditions not decided": Planted(_conditions_not_decided),
    "garbage forgotten": Planted(_garbage_forgotten),
    "stamp is the clock": Planted(_stamp_is_the_clock, ("database clock steps",)),
    "staging never cleaned": Planted(_staging_never_cleaned, checks_staging=True),
    "expired seal is told ok": Planted(_expired_seal_applies, ("broker delays", "node full")),
}
HEALED: Final[dict[str, Planted]] = {
    # A direct batch is settled as aborted before it is run again: the second run meets that.
    "ambiguous commit run again": Planted(_ambiguous_commit_run_again, ("database ambiguous",)),
    # Seals settle once, so whoever applies a lane beside its owner changes nothing; a position that
    # is moved back is only read again, and none is moved beyond a seal that has not settled.
    "positions without compare-and-set": Planted(
        _positions_without_compare_and_set, ("materializer paused", "materializer killed")
    ),
}
