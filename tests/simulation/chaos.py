"""Breaks the world as its plan says, and mends it: after a while, and all of it at the end."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tests.simulation.loop import CURRENT
from tests.simulation.process import Killed, Process
from tests.simulation.services import WIDE, Service

from fileflux.core.checksum import crc32c
from fileflux.core.errors import BrokerUnavailable
from fileflux.core.ids import BundleId, NodeId
from fileflux.events.codec import encode_events
from fileflux.events.memory import MemoryFaults
from fileflux.events.schema import BundleCommitted
from fileflux.events.topics import (
    AUDIT,
    BUNDLES_ASSIGNED,
    BUNDLES_COMMITTED,
    UPLOADS_COMPLETED,
    UPLOADS_SEALED,
)

if TYPE_CHECKING:
    from tests.simulation.world import World

STRIKE_S: Final = 0.8
"""Between two strikes, on average."""
KILLED: Final = ("ingest", "node", "materializer", "sequencer", "placement")
PAUSED: Final = ("ingest", "node", "materializer", "sequencer")
BUNDLE_TOPICS: Final = (BUNDLES_ASSIGNED, BUNDLES_COMMITTED)
TAIL_RECORDS_MAX: Final = 8

BROKER_START_S_MIN: Final = 2.5

Strike = Callable[[str], Awaitable[None]]


class Chaos:
    """`run` strikes until it is cancelled; `heal` ends everything that it did."""

    def __init__(self, world: "World", rng: random.Random) -> None:
        self._world = world
        self._plan = world.plan
        self._rng = rng
        self._mending: set[asyncio.Task[None]] = set()
        self._damaged: dict[BundleId, NodeId] = {}
        self._lied_about: set[tuple[BundleId, NodeId]] = set()
        self.is_on = False

    async def run(self) -> None:
        self.is_on = True
        self._set_rates()
        strikes = [fault for fault in self._plan.rates if fault in self._strikes()]
        while True:
            await asyncio.sleep(self._rng.expovariate(1 / STRIKE_S))
            if strikes:
                fault = self._rng.choice(strikes)
                if self._rng.random() < self._plan.rate(fault):
                    await self._strikes()[fault](fault)

    async def heal(self) -> None:
        """Everything works again from here on."""
        self.is_on = False
        for task in self._mending:
            task.cancel()
        world = self._world
        world.broker.faults = MemoryFaults()
        world.broker.start()
        world.database.heal()
        world.network.faults.lost = world.network.faults.hangs = 0.0
        world.network.faults.flipped = 0.0
        world.network.faults.latency_s = 0.002
        world.network.faults.cuts.clear()
        for node in world.nodes:
            node.store.capacity_bytes = WIDE
            node.store.fsync_s = 0.002
        for service in world.services:
            service.process.resume()

    def hit(self, name: str) -> None:
        """A failpoint was passed. It may be the last thing that its process does."""
        process = CURRENT.get()
        self._world.failpoints.add(name)
        rate = self._plan.rate("killed at a failpoint")
        if not self.is_on or not rate or not isinstance(process, Process):
            return
        if self._rng.random() < 0.03 * rate:
            self._cover(f"killed at {name}")
            process.kill()
            raise Killed

    def is_damaged(self, node_id: NodeId, bundle_id: BundleId) -> bool:
        """Whether we flipped a bit of this replica."""
        return self._damaged.get(bundle_id) == node_id

    def damage_of(self, bundle_id: BundleId) -> int:
        """How many of a bundle's replicas we damaged."""
        return int(bundle_id in self._damaged)

    def is_lied_about(self, node_id: NodeId, bundle_id: BundleId) -> bool:
        """Whether we confirmed other bytes in this node's name.

        Such a lie that arrives last stands in the row: nothing tells it from a true change of mind.
        """
        return (bundle_id, node_id) in self._lied_about

    # --- rates that hold all the time -------------------------------------------------------------

    def _set_rates(self) -> None:
        plan, world = self._plan, self._world
        world.broker.faults = MemoryFaults(
            drop=0.3 * plan.rate("broker drops"),
            duplicate=0.5 * plan.rate("broker doubles"),
            reorder=0.3 * plan.rate("broker reorders"),
            delay=0.3 * plan.rate("broker delays"),
            delay_s_max=self._rng.choice((0.2, 2.0, 20.0)),
            refuse=0.3 * plan.rate("broker refuses"),
        )
        world.database.faults.serialization_failures = 0.1 * plan.rate("database 40001")
        world.database.faults.ambiguous_commits = 0.3 * plan.rate("database ambiguous")
        if plan.rate("database slow"):
            world.database.latency_s = self._rng.choice((0.02, 0.3, 2.0))
        faults = world.network.faults
        faults.lost = 0.2 * plan.rate("messages lost")
        faults.hangs = 0.05 * plan.rate("messages hang")
        faults.flipped = 0.2 * plan.rate("bits flip")
        if plan.rate("network slow"):
            faults.latency_s = self._rng.choice((0.05, 0.5, 3.0))
        if plan.rate("node full") or plan.rate("network slow"):
            for node in world.nodes:
                node.store.fsync_s = self._rng.choice((0.002, 0.05, 0.5))
        for fault in plan.rates:
            if fault not in self._strikes():
                self._cover(fault)

    # --- strikes ----------------------------------------------------------------------------------

    def _strikes(self) -> dict[str, Strike]:
        return {
            **{f"{kind} killed": self._kill for kind in KILLED},
            **{f"{kind} paused": self._pause for kind in PAUSED},
            "broker down": self._broker_down,
            "broker wiped": self._wipe,
            "broker tail lost": self._lose_tail,
            "database down": self._database_down,
            "database clock steps": self._step_clock,
            "node full": self._fill_node,
            "bundle damaged": self._damage_bundle,
            "staged damaged": self._damage_staged,
            "staged lost": self._lose_staged,
            "stray commits": self._stray_commit,
            "network cut": self._cut,
        }

    def _cover(self, fault: str) -> None:
        self._world.coverage.add(fault)
        self._world.strikes += 1

    def _one_of(self, kind: str) -> Service:
        return self._rng.choice([s for s in self._world.services if s.kind == kind])

    async def _kill(self, fault: str) -> None:
        service = self._one_of(fault.split()[0])
        if service.process.is_alive:
            self._cover(fault)
            service.process.kill()

    async def _pause(self, fault: str) -> None:
        service = self._one_of(fault.split()[0])
        process = service.process
        if process.is_alive and not process.is_paused:
            self._cover(fault)
            process.pause()
            self._later(self._rng.choice((0.5, 5.0, 40.0)), process.resume)

    async def _broker_down(self, fault: str) -> None:
        self._cover(fault)
        self._world.broker.stop()
        self._later(self._rng.choice((0.3, 3.0, 12.0)), self._world.broker.start)

    async def _wipe(self, fault: str) -> None:
        if self._rng.random() < 0.3:
            self._cover(fault)
            topics = (None, AUDIT, UPLOADS_SEALED, *BUNDLE_TOPICS)
            self._restart_broker()
            self._world.broker.wipe(self._rng.choice(topics))

    async def _lose_tail(self, fault: str) -> None:
        """What a power cut takes of the topics that are not flushed at each record."""
        self._cover(fault)
        self._restart_broker()
        topic = self._rng.choice((UPLOADS_SEALED, UPLOADS_COMPLETED, *BUNDLE_TOPICS))
        is_by_slot = topic == BUNDLES_ASSIGNED
        partition = self._rng.randrange(self._world.slots if is_by_slot else self._world.lanes)
        self._world.broker.lose_tail(topic, partition, self._rng.randint(1, TAIL_RECORDS_MAX))

    def _restart_broker(self) -> None:
        """A broker that loses records was dead, and none comes back at once."""
        self._world.broker.stop()
        self._later(self._rng.uniform(BROKER_START_S_MIN, 8), self._world.broker.start)

    async def _database_down(self, fault: str) -> None:
        self._cover(fault)
        faults = self._world.database.faults
        faults.is_down = True
        self._world.database.downs += 1
        self._later(self._rng.choice((0.3, 4.0, 20.0)), self._world.database.start)

    async def _step_clock(self, fault: str) -> None:
        self._cover(fault)
        step_s = self._rng.choice((-86_400, -61, -1, 1, 61))
        self._world.database.faults.clock_offset_us += step_s * 1_000_000

    async def _fill_node(self, fault: str) -> None:
        node = self._rng.choice(self._world.nodes)
        self._cover(fault)
        node.store.capacity_bytes = node.store.used_bytes + self._rng.choice((0, 2_000))
        self._later(self._rng.uniform(0.5, 20), lambda: setattr(node.store, "capacity_bytes", WIDE))

    async def _damage_bundle(self, fault: str) -> None:
        """One replica of a bundle at most: nothing repairs it yet, so W - 1 may be damaged."""
        node = self._rng.choice(self._world.nodes)
        holdings = sorted(node.store.holdings().keys() - self._damaged.keys())
        if holdings and self._world.storage_class.quorum > 1:
            bundle_id = self._rng.choice(holdings)
            self._damaged[bundle_id] = node.node_id
            self._cover(fault)
            size = node.store.holdings()[bundle_id].size
            node.store.damage(bundle_id, self._rng.randrange(size))

    async def _damage_staged(self, fault: str) -> None:
        files = self._rng.choice(list(self._world.host.files.values()) or [{}])
        if files:
            bundle_id = self._rng.choice(sorted(files))
            damaged = bytearray(files[bundle_id])
            damaged[self._rng.randrange(len(damaged))] ^= 1
            dict.__setitem__(files, bundle_id, bytes(damaged))
            self._cover(fault)

    async def _lose_staged(self, fault: str) -> None:
        files = self._rng.choice(list(self._world.host.files.values()) or [{}])
        if files:
            bundle_id = self._rng.choice(sorted(files))
            dict.__setitem__(files, bundle_id, files[bundle_id][:40])
            self._cover(fault)

    async def _stray_commit(self, fault: str) -> None:
        """A node confirms bytes that are not those that were sealed."""
        sealed = self._world.sealed
        if not sealed:
            return
        bundle_id = self._rng.choice(list(sealed)[-3:])
        size, crc = sealed[bundle_id]
        node = self._rng.choice(self._world.nodes)
        if node.store.holds(bundle_id, (size, crc)):
            return
        event = BundleCommitted(
            bundle_id=bundle_id,
            seal_id=self._world.seal_of(bundle_id),
            node_id=node.node_id,
            node_epoch=node.life,
            size=size,
            crc=crc32c(crc.to_bytes(4, "big")),
            received_us=0,
            pulled_us=0,
            durable_us=0,
        )
        self._cover(fault)
        self._lied_about.add((bundle_id, node.node_id))
        publisher = await self._world.broker.fast_publisher()
        try:
            for lane in range(self._world.lanes):
                await publisher.publish(BUNDLES_COMMITTED, encode_events([event]), partition=lane)
        except BrokerUnavailable:
            return

    async def _cut(self, fault: str) -> None:
        names = ["staging", *(s.name for s in self._world.services if s.kind in ("node", "ingest"))]
        pair = frozenset(self._rng.sample(names, 2))
        self._cover(fault)
        cuts = self._world.network.faults.cuts
        cuts.add(pair)
        self._later(self._rng.uniform(1, 30), lambda: cuts.discard(pair))

    def _later(self, delay_s: float, mend: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay_s)
            mend()

        task = asyncio.create_task(wait())
        self._mending.add(task)
        task.add_done_callback(self._mending.discard)
