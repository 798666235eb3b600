"""The system under fault: the cluster that `fileflux dev` runs, a supervisor, and its clients.

A supervisor thread does what `fileflux dev` does: it starts again what died. Whoever breaks the
servers on purpose holds it off them for that time. `run_fault` is the shape of every fault: clients
at work, the fault, recovery, more work, judgement, one printed line.
"""

import asyncio
import json
import os
import random
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.bench.signing import Account
from tests.fault.epoch import Epoch
from tests.fault.hook_receiver import HookReceiver
from tests.fault.oracle import judge
from tests.fault.s3_client import NoAnswer, NotSent, S3Client
from tests.fault.workload import Client

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions
from fileflux.console.wiring import Surroundings
from fileflux.metadata.audit_keys import new_audit_key

BUCKET: Final = "fault-battery"
CLIENTS: Final = 8
CLIENTS_THAT_HANG: Final = 24
"""Where each client hangs in its write until the fault has passed, few others overlap it."""
WARM_OPERATIONS: Final = 25
OVERLAP_MIN: Final = 20
AFTER_OPERATIONS: Final = 25
TRIES: Final = 3
TEND_S: Final = 0.1
POLL_S: Final = 0.05
PROBE_BODY: Final = b"is anybody there"
UPLOADS_MIN: Final = 5
STILL_S_MAX: Final = 30.0
PROGRESS_WITHIN_S: Final = 120.0
CLIENTS_END_WITHIN_S: Final = 150.0

Fault = Callable[["Injury"], Awaitable[None]]
"""Breaks something and mends what an operator would have to mend; the rest is the system's."""


@dataclass(slots=True)
class Injury:
    """What a fault tells about itself. `healed_s`: from when on recovery is counted.

    `unreached`: why the fault did not happen.
    """

    epoch: Epoch
    rng: random.Random
    began_s: float
    healed_s: float
    note: str = ""
    unreached: str = ""
    waited_for: str = ""

    def healed(self) -> None:
        """From now on nothing is broken any more, or: the kill has just happened."""
        self.healed_s = time.monotonic()


@dataclass(slots=True)
class World:
    """One cluster for a whole session, and what came of the faults so far.

    `faults`: the name of each that was injected under load, as often as it was.
    """

    cluster: Cluster
    seed: int
    lines: list[str] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    restarts: int = 0
    hooks: HookReceiver = field(default_factory=HookReceiver)
    _servers_are_held: threading.Event = field(default_factory=threading.Event)
    _tending: threading.Lock = field(default_factory=threading.Lock)
    _ended: threading.Event = field(default_factory=threading.Event)
    _supervisor: threading.Thread | None = None

    # The supervisor.

    def start(self) -> None:
        self.cluster.start()
        self.hooks.start()
        tend_servers = self.cluster.servers.tend
        self.cluster.servers.tend = lambda: (  # type: ignore[method-assign]
            [] if self._servers_are_held.is_set() else tend_servers()
        )
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")
        self._supervisor.start()

    def stop(self) -> None:
        self._ended.set()
        if self._supervisor is not None:
            self._supervisor.join()
            self.hooks.stop()
        self.cluster.stop()

    def _supervise(self) -> None:
        while not self._ended.wait(TEND_S):
            for name, service in self.cluster.services.items():
                if not service.is_running:
                    self.disarm(name)  # Or it would kill itself again at its start.
            with self._tending:
                self.restarts += len(self.cluster.tend())

    @contextmanager
    def servers_held(self) -> Iterator[None]:
        """Kafka and PostgreSQL are the caller's; services that die are still started again."""
        self._servers_are_held.set()
        with self._tending:
            pass  # A round that had begun is over.
        try:
            yield
        finally:
            self._servers_are_held.clear()

    # Failpoints.

    def arm(self, service: str, actions: str) -> None:
        path = self._failpoints(service)
        draft = path.with_suffix(".draft")
        draft.write_text(actions)
        draft.replace(path)

    def disarm(self, service: str) -> None:
        self._failpoints(service).unlink(missing_ok=True)

    def _failpoints(self, service: str) -> Path:
        return self.cluster.data.run / f"{service}.failpoints"

    # Clients.

    @property
    def account(self) -> Account:
        host = self.cluster.endpoint.partition("://")[2]
        credentials = self.cluster.credentials
        return Account(host, credentials.root_access_key, credentials.root_secret_key)

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            database_url=self.cluster.backends.database_url,
            kafka_bootstrap_servers=self.cluster.backends.kafka_bootstrap_servers,
            master_key=self.cluster.credentials.master_key,
        )

    def service_logs(self) -> list[Path]:
        return sorted(self.cluster.data.logs.glob("*.log"))

    def keep_evidence(self, directory: Path) -> Path:
        """What a failure is explained by: logs, and the history of every epoch."""
        kept = directory / f"fault-{self.seed}"
        shutil.copytree(self.cluster.data.logs, kept / "logs", dirs_exist_ok=True)
        for epoch in self.epochs:
            lines = [json.dumps(asdict(one)) for one in epoch.history.operations]
            (kept / f"{epoch.name}.jsonl").write_text("\n".join(lines))
        return kept

    async def make_bucket(self) -> None:
        client = S3Client(self.account)
        answer = await client.request("PUT", f"/{BUCKET}")
        assert answer.status == 200, answer
        await client.close()
        await self.hooks.subscribe(self.surroundings, BUCKET)

    async def what_is_wrong(self) -> str:
        """Empty when every service is ready and a new object goes in and comes out."""
        names = list(self.cluster.services)
        health = self.cluster.health
        said = await asyncio.gather(*(asyncio.to_thread(health, n, "ready") for n in names))
        unready = [f"{n}: {text}" for n, text in zip(names, said, strict=True) if text is not None]
        return "; ".join(unready) or await self._probe()

    async def problems(self) -> dict[str, str | None]:
        return {n: self.cluster.health(n, "ready") for n in self.cluster.services}

    async def _probe(self) -> str:
        client = S3Client(self.account, timeout_s=40)
        path = f"/{BUCKET}/probe"
        try:
            stored = await client.request("PUT", path, body=PROBE_BODY)
            read = await client.request("GET", path)
        except (NoAnswer, NotSent) as error:
            return f"probe: {error}"
        finally:
            await client.close()
        is_back = stored.status == 200 and read.body == PROBE_BODY
        return "" if is_back else f"probe: PUT {stored.status}, GET {read.status}"

    @asynccontextmanager
    async def working_clients(
        self, epoch: Epoch, rng: random.Random, accounts: Sequence[Account], count: int
    ) -> AsyncIterator[list[Client]]:
        """Clients at work until the block ends; then their last operations have ended, too."""
        stopping = asyncio.Event()
        clients = [
            Client(
                S3Client(accounts[number % len(accounts)]),
                epoch,
                bucket=BUCKET,
                number=number,
                run_number=len(self.epochs),
                seed=rng.getrandbits(64),
            )
            for number in range(count)
        ]
        tasks = [asyncio.create_task(one.work(stopping.is_set)) for one in clients]
        try:
            yield clients
            stopping.set()
            async with asyncio.timeout(CLIENTS_END_WITHIN_S):
                await asyncio.gather(*tasks)
        except BaseException:
            await asyncio.gather(*(client.close() for client in clients))
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    # Faults.

    async def run_fault(
        self,
        name: str,
        fault: Fault,
        *,
        recovery_s_max: float,
        accounts: Sequence[Account] = (),
        clients: int = CLIENTS,
    ) -> None:
        """Inject it under load, again if too little was going on; fail for anything wrong."""
        for attempt in range(TRIES):
            overlapped = await self._run_once(
                name,
                fault,
                recovery_s_max=recovery_s_max,
                accounts=accounts or [self.account],
                count=clients,
            )
            if overlapped >= OVERLAP_MIN:
                self.faults.append(name)
                return
            self.say(f"{name}: void, {overlapped} operations overlapped (try {attempt + 1})")
        raise AssertionError(f"{name}: too little was going on, {TRIES} times")

    async def _run_once(
        self,
        name: str,
        fault: Fault,
        *,
        recovery_s_max: float,
        accounts: Sequence[Account],
        count: int,
    ) -> int:
        epoch = Epoch(f"e{len(self.epochs):03}")
        self.epochs.append(epoch)
        rng = random.Random(f"{self.seed} {epoch.name}")
        async with self.working_clients(epoch, rng, accounts, count) as clients:
            await self._wait_for_work(epoch, 0.0, WARM_OPERATIONS)
            now_s = time.monotonic()
            injury = Injury(epoch, rng, began_s=now_s, healed_s=now_s)
            await fault(injury)
            recovered_s = await self._wait_healthy(name, injury, recovery_s_max)
            await self._wait_for_work(epoch, recovered_s, AFTER_OPERATIONS)
        overlapped = epoch.overlapping(injury.began_s, recovered_s)
        await self._read_all(epoch, clients)
        judged = await judge(epoch, self.surroundings, BUCKET)
        took_s = recovered_s - injury.healed_s
        self.say(
            f"{name}{injury.note}: {overlapped} operations overlapped, recovered in {took_s:.1f} s"
            f" (slowest operation {epoch.longest_s():.1f} s); {_told(epoch)}; {judged.keys} keys,"
            f" {judged.undecided} undecided; audit {judged.records} records;"
            f" {len(judged.problems)} violations"
            f"{'; waited last for ' + injury.waited_for if injury.waited_for else ''}"
        )
        assert not injury.unreached, injury.unreached
        assert judged.problems == [], "\n".join([f"{name} (seed {self.seed}):", *judged.problems])
        assert took_s <= recovery_s_max, f"{name}: recovery took {took_s:.1f} s"
        return overlapped

    async def _wait_for_work(self, epoch: Epoch, since_s: float, count: int) -> None:
        deadline_s = time.monotonic() + PROGRESS_WITHIN_S
        while epoch.acknowledged_after(since_s) < count:
            assert time.monotonic() < deadline_s, (
                f"no progress: {epoch.history.counts()}; {await self.problems()}"
            )
            await asyncio.sleep(POLL_S)

    async def _wait_healthy(self, name: str, injury: Injury, within_s: float) -> float:
        """Return when all is well; the injury notes what was waited for last, and until when."""
        deadline_s = time.monotonic() + max(within_s, 60.0)
        while wrong := await self.what_is_wrong():
            injury.waited_for = f"{wrong} (until {time.monotonic() - injury.healed_s:.1f} s)"
            assert time.monotonic() < deadline_s, f"{name}: not healthy: {wrong}"
            await asyncio.sleep(POLL_S)
        return time.monotonic()

    async def _read_all(self, epoch: Epoch, clients: list[Client]) -> None:
        keys = epoch.keys
        shares = [keys[number :: len(clients)] for number in range(len(clients))]
        await asyncio.gather(*(c.read_all(s) for c, s in zip(clients, shares, strict=True)))
        await asyncio.gather(*(client.close() for client in clients))

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)


async def uploads_go_on(injury: Injury, seconds: float) -> None:
    """Return after so long, with uploads acknowledged all the time that something is wrong."""
    began_s, before = time.monotonic(), injury.epoch.acknowledged_writes()
    while (
        time.monotonic() - began_s < seconds
        or injury.epoch.acknowledged_writes() < before + UPLOADS_MIN
    ):
        assert time.monotonic() - began_s < seconds + STILL_S_MAX, "uploads stand still"
        await asyncio.sleep(POLL_S)


def _told(epoch: Epoch) -> str:
    counts = {"ok": 0, "fail": 0, "unknown": 0}
    for one in epoch.history.operations:
        counts[one.outcome] += one.index not in epoch.unsent
    told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return f"{told}, {len(epoch.unsent)} found nobody"


def make_world(directory: Path, cache_dir: Path, *, seed: int) -> World:
    """A cluster that was not started yet."""
    os.environ.update(_audit_settings(directory.parent))  # The judge reads the archive too.
    return World(
        Cluster(
            ClusterOptions(
                data_dir=directory,
                cache_dir=cache_dir,
                port=0,
                failpoints=True,
                # So that giving up can be seen without waiting half a minute for it.
                extra_env={"FILEFLUX_INGEST_SETTLE_TIMEOUT_S": "10"},
            )
        ),
        seed,
    )


def _audit_settings(directory: Path) -> dict[str, str]:
    """Records go to an archive, and leave the database while the faults go on."""
    key = directory / "audit-key.pem"
    new_audit_key(key)
    return {
        "FILEFLUX_ARCHIVE_URL": f"file://{directory}/archive",
        "FILEFLUX_ARCHIVE_AFTER_S": "1",
        "FILEFLUX_ARCHIVE_KEEP_S": "5",
        "FILEFLUX_AUDIT_KEY_FILE": str(key),
        "FILEFLUX_CHECKPOINT_S": "1",
    }


def fault_seed() -> int:
    """FILEFLUX_FAULT_SEED, or a fresh one."""
    return int(os.environ.get("FILEFLUX_FAULT_SEED") or random.SystemRandom().getrandbits(32))


def fault_rounds() -> int:
    """How often each fault is injected: FILEFLUX_FAULT_ROUNDS, 1 by default."""
    return int(os.environ.get("FILEFLUX_FAULT_ROUNDS") or 1)
