"""A seal settles once, and whoever writes its settlement first decides.

The materializer settles by applying; an ingest that gives up settles as aborted. With the database
up, what ingest then tells its client is a fact: "not applied", or the outcome that came first.
"""

from collections.abc import Sequence
from typing import Final

from fileflux.core.changes import Outcome
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import SealId, UploadId
from fileflux.metadata.ports import Database, Transaction
from fileflux.metadata.rows import Settlement
from fileflux.metadata.seals import ABORTED

ABORT_DEADLINE_S: Final = 10.0
FIND_DEADLINE_S: Final = 3.0


async def find_settlement(database: Database, seal_id: SealId) -> Settlement | None:
    """Return how a seal settled; raise MetadataBusy when the database does not answer."""

    async def look(transaction: Transaction) -> Settlement | None:
        return (await transaction.load_settlements([seal_id])).get(seal_id)

    return await database.run(look, settled=_look_again, deadline_s=FIND_DEADLINE_S)


async def _look_again() -> None:
    """Reading changes nothing: a commit whose answer got lost is simply read again."""


async def abort_seal(
    database: Database, seal_id: SealId, upload_ids: Sequence[UploadId]
) -> Settlement:
    """Settle a seal as aborted unless it is settled already; return the settlement that stands.

    No garbage: the bundles of a seal that never applied stay staged, and staged bundles die by
    themselves. Raise MetadataBusy (no settlement yet) or SettlementUnknown.
    """
    failpoint("settle.before_abort")

    async def settle(transaction: Transaction) -> Settlement:
        found = await transaction.load_settlements([seal_id])
        if seal_id in found:
            return found[seal_id]
        settlement = Settlement(
            seal_id=seal_id,
            outcomes=tuple(Outcome(upload_id=upload, status=ABORTED) for upload in upload_ids),
            aborted=True,
            settled_us=await transaction.clock_us(),
        )
        await transaction.store_settlements([settlement])
        return settlement

    async def settled() -> Settlement | None:
        return await find_settlement(database, seal_id)

    return await database.run(settle, settled=settled, deadline_s=ABORT_DEADLINE_S)


class SealAborter:
    """`abort_seal` on one database, as ingest wants it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def abort(self, seal_id: SealId, upload_ids: Sequence[UploadId]) -> Settlement:
        """Return whichever settlement stands; raise MetadataBusy or SettlementUnknown."""
        return await abort_seal(self._database, seal_id, upload_ids)
