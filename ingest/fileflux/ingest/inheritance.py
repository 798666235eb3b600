"""What the dead leave: the first living worker serves it, settles it, and deletes the rest.

Nodes go on pulling a dead incarnation's bundles until each seal has settled or can no longer
settle; accepted asynchronous uploads are driven to their end. Nobody waits for the others any more:
their clients' connections died with the incarnation.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

from fileflux.core.bundle_format import parse_header
from fileflux.core.bundle_records import HEADER_SIZE_BYTES
from fileflux.core.clock import Clock
from fileflux.core.errors import (
    Corrupt,
    EventInvalid,
    FileFluxError,
    FormatInvalid,
    NoSuchBundle,
    Unavailable,
)
from fileflux.core.ids import BundleId, SealId
from fileflux.core.telemetry import get_logger
from fileflux.events.schema import UploadsSealed
from fileflux.ingest.redrive import Redriver, parse_note
from fileflux.ingest.settling import SettlementReader
from fileflux.ingest.staging import Inheritance, StagingHost

log = get_logger(__name__)

LOOK_S: Final = 10.0
ASK_S: Final = 5.0
ASK_DEADLINE_S: Final = 5.0
SEALS_ASKED_MAX: Final = 256
SEAL_LIFE_S: Final = 75.0
"""A seal published just before the death is alive for 60 s, by the database's clock."""
DRIVES_AT_ONCE_MAX: Final = 8


class Heir:
    """Adopts one dead incarnation after another. `run` has an owner."""

    def __init__(
        self,
        host: StagingHost,
        reader: SettlementReader,
        redriver: Redriver,
        *,
        clock: Clock,
        seal_life_s: float = SEAL_LIFE_S,
    ) -> None:
        self._host = host
        self._reader = reader
        self._redriver = redriver
        self._clock = clock
        self._seal_life_s = seal_life_s
        self._driving = asyncio.Semaphore(DRIVES_AT_ONCE_MAX)

    async def run(self) -> None:
        """Until cancelled: look for the dead, and settle what they left."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                inheritance = await self._adopt()
                if inheritance is None:
                    await self._clock.sleep(LOOK_S)
                else:
                    tasks.create_task(self._settle_safely(inheritance), name="settle the dead")

    async def settle(self, inheritance: Inheritance) -> None:
        """Serve, settle and discard one dead incarnation.

        A note that cannot be read or driven is kept with all that it may need, and stops no other.
        """
        notes = await inheritance.read_notes()
        seals = _readable(notes)
        log.info(
            "a dead incarnation is settled",
            incarnation=inheritance.incarnation.hex(),
            bundles=len(inheritance.bundle_ids),
            accepted=len(notes),
        )
        holding = asyncio.create_task(inheritance.hold(), name="hold an inheritance")
        try:
            if await self._settle_all(inheritance, notes, seals):
                await inheritance.discard()
            else:
                await holding  # Until we end: nobody else could do better.
        finally:
            holding.cancel()

    async def _settle_all(
        self,
        inheritance: Inheritance,
        notes: Mapping[SealId, bytes],
        seals: Mapping[SealId, UploadsSealed],
    ) -> bool:
        """Return whether nothing is left that must be kept."""
        noted = {bundle.bundle_id for seal in seals.values() for bundle in seal.bundles}
        others = [each for each in inheritance.bundle_ids if each not in noted]
        async with asyncio.TaskGroup() as tasks:
            ends = [
                tasks.create_task(self._drive(inheritance, seal, notes[seal_id]), name="drive")
                for seal_id, seal in seals.items()
            ]
            if len(seals) == len(notes):  # Else any other may be what a client was promised.
                ends.append(tasks.create_task(self._serve_safely(inheritance, others)))
        return len(seals) == len(notes) and all(end.result() for end in ends)

    async def _adopt(self) -> Inheritance | None:
        try:
            return await self._host.adopt()
        except (FileFluxError, OSError) as error:
            log.info("the staging cannot be looked through", problem=str(error))
            return None

    async def _settle_safely(self, inheritance: Inheritance) -> None:
        """The boundary of one inheritance: what fails here is kept, and must not stop the others.

        The lock stays ours until this process ends; then somebody else tries.
        """
        try:
            await self.settle(inheritance)
        except* Exception:  # Whatever it is: accepted uploads of the other dead must not wait.
            log.exception(
                "a dead incarnation cannot be settled", incarnation=inheritance.incarnation.hex()
            )

    async def _drive(self, inheritance: Inheritance, seal: UploadsSealed, note: bytes) -> bool:
        """Return whether the upload is final; then its bytes may go."""
        try:
            async with self._driving:
                await self._redriver.drive(note, inheritance)
            await inheritance.delete([bundle.bundle_id for bundle in seal.bundles])
        except Exception:  # The boundary of one upload: the others were promised as much.
            log.exception("an accepted upload cannot be driven", seal_id=seal.seal_id.hex())
            return False
        return True

    async def _serve_safely(self, inheritance: Inheritance, bundle_ids: Sequence[BundleId]) -> bool:
        """Return whether the bundles were served to their end. Accepted uploads need them not."""
        while True:
            try:
                await self._serve(inheritance, bundle_ids)
            except Unavailable as error:
                log.info("bundles of the dead wait", problem=str(error))
                await self._clock.sleep(LOOK_S)
            except Exception:  # The boundary of bundles whose clients have gone.
                log.exception(
                    "bundles of the dead are kept", incarnation=inheritance.incarnation.hex()
                )
                return False
            else:
                return True

    async def _serve(self, inheritance: Inheritance, bundle_ids: Sequence[BundleId]) -> None:
        """Return when no seal can need these bundles any more."""
        until_s = self._clock.monotonic_s() + self._seal_life_s
        waiting = await self._by_seal(inheritance, bundle_ids)
        while waiting and self._clock.monotonic_s() < until_s:
            for seal_id in await self._settled(waiting):
                await inheritance.delete(waiting.pop(seal_id))
            if waiting:
                await self._clock.sleep(ASK_S)
        await inheritance.delete([b for rest in waiting.values() for b in rest])

    async def _settled(self, waiting: Mapping[SealId, list[BundleId]]) -> list[SealId]:
        """Return which of the seals (the first few) have settled; none while nobody can say."""
        asked: dict[SealId, Sequence[BundleId]] = dict.fromkeys(list(waiting)[:SEALS_ASKED_MAX], ())
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                states = await self._reader.seal_states(asked)
        except (FileFluxError, TimeoutError) as error:
            log.info("settlements cannot be asked for", problem=str(error))
            return []
        return [seal_id for seal_id, state in states.items() if state.settlement is not None]

    async def _by_seal(
        self, inheritance: Inheritance, bundle_ids: Sequence[BundleId]
    ) -> dict[SealId, list[BundleId]]:
        """Return the bundles by the seal that their header names."""
        found: dict[SealId, list[BundleId]] = {}
        for bundle_id in bundle_ids:
            try:
                reader = await self._host.open(inheritance.incarnation, bundle_id)
                with closing(reader):
                    header = parse_header(await reader.read(0, HEADER_SIZE_BYTES))
            except NoSuchBundle:
                continue  # We looked before, and deleted it.
            except (FormatInvalid, Corrupt):
                await inheritance.delete([bundle_id])
            else:
                found.setdefault(header.seal_id, []).append(bundle_id)
        return found


def _readable(notes: Mapping[SealId, bytes]) -> dict[SealId, UploadsSealed]:
    """Return the seals of the notes that can be read; report the others."""
    seals = {}
    for seal_id, note in notes.items():
        try:
            seals[seal_id] = parse_note(note)
        except EventInvalid:
            log.exception(
                "the note of an accepted upload cannot be read, and is kept aside",
                seal_id=seal_id.hex(),
            )
    return seals
