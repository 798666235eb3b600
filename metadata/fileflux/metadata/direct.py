"""Changes without bytes: delete, copy, complete, configuration, accounts.

They need no node, so they go to the database at once: whoever asks while a transaction is in flight
shares the next one. Each batch stores a settlement. A commit whose answer got lost may still be on
its way, so looking the settlement up is not enough: it is settled as aborted, first writer wins,
and only then is it run again or called off. "Unknown" is said when the database cannot settle it.
"""

import random
from collections.abc import Sequence
from itertools import chain, islice
from typing import Final

from fileflux.core.batching import Batcher
from fileflux.core.changes import Change, Outcome
from fileflux.core.errors import FileFluxError
from fileflux.core.failpoints import failpoint
from fileflux.core.ids import SealId, new_id
from fileflux.core.telemetry import get_logger
from fileflux.core.tracing import tracer
from fileflux.metadata.apply import apply, footprint
from fileflux.metadata.commit_traces import direct_span
from fileflux.metadata.ports import Database, Transaction
from fileflux.metadata.rows import Settlement
from fileflux.metadata.settle import abort_seal

log = get_logger(__name__)

BATCH_CHANGES_MAX: Final = 256
DEADLINE_S: Final = 10.0

Outcomes = tuple[Outcome, ...]
Group = tuple[Change, ...]
"""Changes that must not be parted."""


class DirectWriter:
    """Group commit: one write transaction in flight per process. Close it before the database."""

    def __init__(
        self, database: Database, *, rng: random.Random, deadline_s: float = DEADLINE_S
    ) -> None:
        self._database = database
        self._rng = rng
        self._deadline_s = deadline_s
        self._tracer = tracer()
        self._batcher: Batcher[Group, Outcomes | Exception] = Batcher(
            self._write, depth=1, weight_max=BATCH_CHANGES_MAX, weigh=len
        )

    async def submit(self, change: Change) -> Outcome:
        """Return what came of the change.

        Raise MetadataBusy when it did not apply, SettlementUnknown when nobody can say.
        """
        (outcome,) = await self.submit_together(change)
        return outcome

    async def submit_together(self, *changes: Change) -> Outcomes:
        """Return what came of the changes, made in this order by one transaction.

        Each is decided on what those before it left. Raises as `submit` does.
        """
        result = await self._batcher.submit(changes)
        if isinstance(result, Exception):
            raise result
        return result

    async def close(self) -> None:
        """Return when everything submitted has been answered."""
        await self._batcher.close()

    async def _write(self, groups: Sequence[Group]) -> Sequence[Outcomes | Exception]:
        """Commit a batch; one that fails for good is halved until the poison stands alone."""
        try:
            outcomes = iter(await self._commit(list(chain.from_iterable(groups))))
            return [tuple(islice(outcomes, len(group))) for group in groups]
        except FileFluxError:
            raise  # Busy or unknown: it says nothing about the changes.
        except Exception as error:  # The boundary of what one request may break.
            if len(groups) == 1:
                kinds = [type(change).__name__ for change in groups[0]]
                log.exception("a change cannot be applied", kind=", ".join(kinds))
                return [error]
            middle = len(groups) // 2
            return [*await self._write(groups[:middle]), *await self._write(groups[middle:])]

    async def _commit(self, changes: Sequence[Change]) -> Outcomes:
        batch_id = SealId(new_id(self._rng))

        uploads = [change.upload_id for change in changes]

        async def decide(transaction: Transaction) -> Outcomes:
            rows = await transaction.load_rows(footprint(changes))
            writes, outcomes = apply(rows, changes)
            if writes.rows:
                await transaction.store_writes(writes)
                await transaction.store_settlements(
                    [Settlement(
                        seal_id=batch_id,
                        outcomes=outcomes,
                        aborted=False,
                        settled_us=rows.clock_us,
                    )]
                )  # fmt: skip
            failpoint("direct.before_commit")
            return outcomes

        async def settled() -> Outcomes | None:
            nonlocal batch_id
            stands = await abort_seal(self._database, batch_id, uploads)
            if not stands.aborted:
                return stands.outcomes
            batch_id = SealId(new_id(self._rng))  # The next attempt is another one.
            return None

        with direct_span(self._tracer, changes):
            outcomes = await self._database.run(
                decide, settled=settled, deadline_s=self._deadline_s
            )
        failpoint("direct.after_commit")
        return outcomes
