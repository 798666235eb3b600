"""Clients with a seeded mind: what they ask, and what they wrote down about it.

The outcome is `fail` when ingest said that nothing applied, and it is held to that; `unknown` when
nobody could say, or the connection broke.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.model.bodies import is_whole, label_of, make_body
from tests.model.history import ABSENT, History, Operation
from tests.model.metadata_changes import Maker
from tests.simulation.process import ConnectionLost
from tests.simulation.services import IngestService

from fileflux.core.changes import Change, CompletedPart, Outcome, PutObject, PutPart
from fileflux.core.errors import Corrupt, FileFluxError, SettlementUnknown
from fileflux.core.ids import UploadId, new_id
from fileflux.core.model import Manifest, ObjectMeta, WriteConditions
from fileflux.ingest.upload import UploadIntent
from fileflux.metadata.rows import ObjectRow

if TYPE_CHECKING:
    from tests.simulation.world import World

OPERATIONS_PER_KEY_MAX: Final = 44
CALL_DEADLINE_S: Final = 90.0
"""Longer than ingest may take; later than that it hangs."""
LAST_CLIENT: Final = 1_000
LARGEST_BODY_BYTES: Final = 40_000

Conditions = tuple[WriteConditions, str | None]
"""And the value that must be there for it."""


class BodyFailed(Exception):
    """The body ended otherwise than it was promised: a wrong digest, a broken connection."""


class Clients:
    """`history`: everything asked. `labels`: ETag → value. `acked`: uploads that were answered with
    their effect; `failed`: those that were said never to have one."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.history = History()
        self.labels: dict[str, str] = {}
        self.acked: dict[UploadId, str] = {}
        self.failed: dict[UploadId, str] = {}
        self.running = 0
        self.is_over = False
        self._maker = Maker(world.seed)
        self._sequence = 0
        self._last: _Client | None = None
        self._counts: dict[str, int] = {}
        self.bucket = self._maker.bucket("photos")

    @property
    def keys(self) -> list[str]:
        return [f"key-{n}" for n in range(self.world.plan.keys)]

    async def prepare(self) -> None:
        """Make the user and the bucket, before anything breaks."""
        ingest = self.world.ingests[0]
        await ingest.process.call(ingest.direct.submit(self._maker.user()))
        assert (await ingest.process.call(ingest.direct.submit(self.bucket))).ok

    async def live(self, number: int) -> None:
        """One client's life: until the chaos ends or every key was asked often enough."""
        client = _Client(self, number)
        self.running += 1
        try:
            while not self.is_over and (key := client.choose_key()) is not None:
                if any(ingest.is_ready for ingest in self.world.ingests):
                    await client.act(key)
                await asyncio.sleep(client.rng.expovariate(1 / self.world.plan.think_s))
        finally:
            self.running -= 1

    async def read_all(self, *, within_s: float) -> None:
        """After the heal: every key can be read, and what is read belongs to the history."""
        reader = self._last_client()
        for key in self.keys:
            deadline_s = self.world.loop.time() + within_s
            while not await reader.get(key):
                if self.world.loop.time() > deadline_s:
                    self.world.problem(f"{key} cannot be read {within_s:.0f} s after the heal")
                    break
                await asyncio.sleep(0.5)

    async def put_after_heal(self) -> bool:
        """Return whether a fresh key can be written and read."""
        client = self._last_client()
        return await client.put("fresh", (WriteConditions(), None)) and await client.get("fresh")

    def _last_client(self) -> "_Client":
        """One for all questions after the heal: its ids must not come twice."""
        self._last = self._last or _Client(self, LAST_CLIENT)
        return self._last

    def count(self, key: str) -> int:
        return self._counts.get(key, 0)

    def called(self, client: int, kind: str, key: str, **more: str | None) -> Operation:
        self._counts[key] = self.count(key) + 1
        return self.history.call(client, kind, key, at_s=self.world.loop.time(), **more)  # type: ignore[arg-type]

    def returned(self, one: Operation, outcome: str, value: str | None = None) -> None:
        self.history.returned(one, outcome, at_s=self.world.loop.time(), value=value)

    def next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence


class _Client:
    """One connection at a time, to one of the ingests."""

    def __init__(self, clients: Clients, number: int) -> None:
        self._clients = clients
        self._world = clients.world
        self._number = number
        self.rng = self._world.rng(f"client-{number}")
        self._maker = Maker(self.rng.randrange(2**32))
        self._read: dict[str, str] = {}

    def choose_key(self) -> str | None:
        keys = [k for k in self._clients.keys if self._clients.count(k) < OPERATIONS_PER_KEY_MAX]
        return self.rng.choice(keys) if keys else None

    async def act(self, key: str) -> None:
        dice = self.rng.random()
        if dice < 0.36:
            await self.put(key, (WriteConditions(), None))
        elif dice < 0.46:
            await self.put(key, self._condition(key))
        elif dice < 0.76:
            await self.get(key)
        elif dice < 0.80:
            await self.list_all()
        elif dice < 0.88:
            await self.delete(key)
        elif dice < 0.95:
            await self.copy(key)
        else:
            await self.multipart(key)

    # --- writes -----------------------------------------------------------------------------------

    async def put(self, key: str, conditions: Conditions) -> bool:
        body = self._body()
        label = self._label(body)
        one = self._clients.called(self._number, "write", key, value=label, expected=conditions[1])
        intent = self._intent(key, len(body))

        def finish(size: int, manifest: Manifest) -> PutObject:
            change = self._maker.put(
                self._clients.bucket, key.encode(), size=size, etag=label, conditions=conditions[0]
            )
            return replace(change, upload_id=intent.upload_id, manifest=manifest)

        ingest = self._ingest()
        work = ingest.engine.write(self._pieces(body), intent=intent, finish=finish)
        return await self._write(one, intent.upload_id, ingest, work)

    async def delete(self, key: str) -> None:
        one = self._clients.called(self._number, "delete", key)
        change = self._maker.delete(self._clients.bucket, key.encode())
        await self._submit(one, change)

    async def copy(self, key: str) -> None:
        """The source is what ingest read; its value is what the destination will have."""
        source_key = self.rng.choice(self._clients.keys)
        row = await self._find(source_key)
        if row is None or row.etag not in self._clients.labels or source_key == key:
            return
        label = self._clients.labels[row.etag]
        one = self._clients.called(self._number, "write", key, value=label)
        await self._submit(one, self._maker.copy(self._clients.bucket, key.encode(), row))

    async def multipart(self, key: str) -> None:
        """Parts that may come twice, then their completion: one write of all their bytes."""
        bucket = self._clients.bucket
        upload = self._maker.create_multipart(bucket, key.encode())
        if not await self._plainly(upload):
            return
        bodies = [self._body(size_min=40) for _ in range(self.rng.randint(1, 3))]
        listed = []
        for number, body in enumerate(bodies, 1):
            if not await self._put_part(upload.upload_id, key, number, body):
                return
            listed.append(CompletedPart(number, label_of(body)))
        one = self._clients.called(self._number, "write", key, value=label_of(b"".join(bodies)))
        change = self._maker.complete(upload, listed)
        await self._submit(one, change, label=one.value)

    async def _put_part(self, multipart_id: UploadId, key: str, number: int, body: bytes) -> bool:
        intent = self._intent(key, len(body), multipart_id=multipart_id, part_number=number)
        create = self._maker.create_multipart(self._clients.bucket, key.encode())

        def finish(size: int, manifest: Manifest) -> PutPart:
            return PutPart(
                upload_id=intent.upload_id,
                actor=create.actor,
                at_us=create.at_us,
                bucket_id=create.bucket_id,
                bucket=create.bucket,
                key=create.key,
                multipart_id=multipart_id,
                part_number=number,
                size=size,
                etag=label_of(body),
                meta=ObjectMeta(),
                manifest=manifest,
            )

        ingest = self._ingest()
        work = ingest.engine.write(self._pieces(body), intent=intent, finish=finish)
        outcome = await self._answer(ingest, work)
        return isinstance(outcome, Outcome) and outcome.ok

    async def _plainly(self, change: Change) -> bool:
        ingest = self._ingest()
        outcome = await self._answer(ingest, ingest.direct.submit(change))
        return isinstance(outcome, Outcome) and outcome.ok

    async def _submit(self, one: Operation, change: Change, *, label: str | None = None) -> None:
        ingest = self._ingest()
        await self._write(one, change.upload_id, ingest, ingest.direct.submit(change), label=label)

    async def _write(self, one, upload_id, ingest, work, *, label=None) -> bool:  # type: ignore[no-untyped-def]
        outcome = await self._answer(ingest, work)
        if isinstance(outcome, Outcome) and outcome.ok:
            self._world.check_acked(upload_id)
            if label is not None:
                self._clients.labels[outcome.etag] = label
            if one.kind == "write":
                self._clients.acked[upload_id] = one.key
            self._clients.returned(one, "ok")
            return True
        if outcome is None:
            self._clients.returned(one, "unknown")
        else:
            if not isinstance(outcome, Outcome):
                self._clients.failed[upload_id] = repr(outcome)
            self._clients.returned(one, "fail")
        return False

    # --- reads ------------------------------------------------------------------------------------

    async def get(self, key: str) -> bool:
        """Read a key's bytes; return whether there was an answer."""
        one = self._clients.called(self._number, "read", key)
        ingest = self._ingest()
        answer = await self._answer(ingest, self._fetch(ingest, key))
        if not isinstance(answer, tuple):
            self._clients.returned(one, "unknown")
            return False
        row, body = answer
        if row is None:
            self._clients.returned(one, "ok", ABSENT)
            return True
        label = label_of(body)
        if row.etag in self._clients.labels and self._clients.labels[row.etag] != label:
            self._world.problem(f"{key}: wrong bytes were delivered for {row.etag}")
        if not row.manifest.parts and body and not is_whole(body):
            self._world.problem(f"{key}: a body that nobody wrote")
        self._clients.labels.setdefault(row.etag, label)
        self._read[key] = row.etag
        self._clients.returned(one, "ok", label)
        return True

    async def list_all(self) -> None:
        """A page is one statement: a read of every key at once."""
        known = [
            (key, self._clients.called(self._number, "read", key)) for key in self._clients.keys
        ]
        ingest = self._ingest()
        work = ingest.reader.list_objects(
            self._clients.bucket.bucket_id, prefix=b"key-", delimiter=b"", after=b"", max_keys=100
        )
        page = await self._answer(ingest, work)
        rows = {} if page is None else {row.key.decode(): row for row in getattr(page, "rows", ())}
        for key, one in known:
            row = rows.get(key)
            if not hasattr(page, "rows") or (row and row.etag not in self._clients.labels):
                self._clients.returned(one, "unknown")
            else:
                value = ABSENT if row is None else self._clients.labels[row.etag]
                self._clients.returned(one, "ok", value)

    async def _fetch(self, ingest: IngestService, key: str) -> tuple[ObjectRow | None, bytes]:
        found = await ingest.lookup.find(self._clients.bucket.bucket, key.encode())
        if found.row is None or found.row.size == 0:
            return found.row, b""
        body = await ingest.objects.open(found, found.row, 0, found.row.size)
        return found.row, b"".join([bytes(piece) async for piece in body])

    async def _find(self, key: str) -> ObjectRow | None:
        ingest = self._ingest()
        found = await self._answer(
            ingest, ingest.lookup.find(self._clients.bucket.bucket, key.encode())
        )
        return getattr(found, "row", None)

    # --- the connection ---------------------------------------------------------------------------

    async def _answer(self, ingest: IngestService, work):  # type: ignore[no-untyped-def]
        """Return the answer, the error that says "not applied", or None when nobody can say."""
        patience_s = CALL_DEADLINE_S
        leaves = 0.2 * self._world.plan.rate("clients leave")
        if self.rng.random() < leaves and self._world.chaos.is_on:
            patience_s = self.rng.uniform(0, 2)
        try:
            async with asyncio.timeout(patience_s):
                return await ingest.process.call(work)
        except (ConnectionLost, SettlementUnknown):
            return None
        except TimeoutError:
            if patience_s == CALL_DEADLINE_S and not ingest.process.is_paused:
                self._world.problem(f"{ingest.name} gave no answer for {patience_s:.0f} s")
            return None
        except Corrupt as error:
            if not self._world.chaos.is_on:
                self._world.problem(f"no good replica after the heal: {error!r}")
            return error
        except (FileFluxError, BodyFailed) as error:
            return error
        except Exception as error:
            self._world.problem(f"{ingest.name} answered 500: {error!r}")
            return None

    def _ingest(self) -> IngestService:
        ready = [i for i in self._world.ingests if i.is_ready and i.process.is_alive]
        return self.rng.choice(ready or self._world.ingests)

    def _condition(self, key: str) -> Conditions:
        etag = self._read.get(key)
        if etag is None or self.rng.random() < 0.5:
            return WriteConditions(if_none_match="*"), ABSENT
        return WriteConditions(if_match=etag), self._clients.labels[etag]

    def _intent(self, key: str, size: int, **part: object) -> UploadIntent:
        return UploadIntent(
            upload_id=UploadId(new_id(self.rng)),
            bucket_id=self._clients.bucket.bucket_id,
            bucket=self._clients.bucket.bucket,
            key=key.encode(),
            storage_class=self._world.storage_class,
            received_us=self._world.clock.now_us(),
            declared_size=self.rng.choice((None, size)),
            **part,  # type: ignore[arg-type]
        )

    def _body(self, *, size_min: int = 0) -> bytes:
        dice = self.rng.random()
        if dice < 0.08 and not size_min:
            return b""
        largest = 2_000 if dice < 0.8 else LARGEST_BODY_BYTES
        size = self.rng.randint(40, largest)
        return make_body(self._world.seed, self._number, self._clients.next_sequence(), size)

    def _label(self, body: bytes) -> str:
        label = label_of(body)
        self._clients.labels[label] = label
        return label

    async def _pieces(self, body: bytes) -> AsyncIterator[bytes]:
        """A body as it arrives; it may break off, or end with a wrong digest."""
        fails = self.rng.random() < 0.2 * self._world.plan.rate("bodies fail")
        position = 0
        while position < len(body):
            size = self.rng.choice((100, 5_000, 20_000))
            if self.rng.random() < 0.2:
                await asyncio.sleep(self.rng.choice((0.0, 0.01, 0.5)))
            yield body[position : position + size]
            position += size
        if fails:
            raise BodyFailed
