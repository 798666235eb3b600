"""Do 10,000 webhooks, a dead receiver and a slow one delay the others, or an upload?

    python -m tests.bench.webhooks [--seconds 40] [--subscriptions 10000] [--rate 20]

Starts FileFlux and uploads 4 KiB at a fixed rate in four phases: without a webhook; with all of
them, whose receivers are well; with a receiver that never answers and one that takes 5 s, each told
of two events a second besides; without these again, since the machine drifts. Measured: the time of
each PUT, and the time from the beginning of each PUT until its event has arrived at the receiver.
Prints the figures, writes JSON and a plot.
"""

import argparse
import asyncio
import contextlib
import datetime
import importlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from tests.bench.signing import Account
from tests.fault.s3_client import S3Client

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions
from fileflux.console.wiring import Surroundings, open_metadata
from fileflux.core.ids import new_id
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.queries import statement
from fileflux.metadata.sequencer import STREAM
from fileflux.webhooks.signing import new_secret

BUCKET: Final = "webhooks-bench"
BODY: Final = bytes(4096)
CLIENTS: Final = 16
ILL_EVERY_S: Final = 0.5
ARRIVED_WITHIN_S: Final = 60.0
WELL: Final = "all receivers well"
ILL: Final = "one dead, one slow"
PHASES: Final = ("no webhook", WELL, ILL, "all well again")


@dataclass(slots=True)
class Phase:
    """`began_s`: of each PUT. `put_s`: how long it took. `arrived_s`: until it was delivered."""

    name: str
    began_s: dict[str, float] = field(default_factory=dict)
    put_s: dict[str, float] = field(default_factory=dict)
    arrived_s: dict[str, float] = field(default_factory=dict)
    ill: int = 0

    def row(self) -> dict[str, Any]:
        return {
            "phase": self.name,
            "uploads": len(self.put_s),
            "upload_ms": _spread(self.put_s.values()),
            "deliveries": len(self.arrived_s),
            "delivery_ms": _spread(self.arrived_s.values()),
            "to_the_ill": self.ill,
        }


def _spread(seconds: Any) -> dict[str, float] | None:
    found = sorted(1000 * one for one in seconds)
    if not found:
        return None
    p99 = found[min(len(found) - 1, int(0.99 * len(found)))]
    values = {"p50": statistics.median(found), "p99": p99, "max": found[-1]}
    return {name: round(value, 1) for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Load:
    """Uploads at a fixed rate, whatever the answers do. `prefix_of(n)`: of the n-th subscriber."""

    account: Account
    seconds: float
    rate: float
    subscriptions: int

    async def run(self, phase: Phase, *, with_ill: bool) -> None:
        clients = asyncio.Queue[S3Client]()
        for _ in range(CLIENTS):
            clients.put_nowait(S3Client(self.account))
        rng, tasks = random.Random(phase.name), set[asyncio.Task[None]]()
        began_s = time.monotonic()
        ill_s = began_s
        for number in range(int(self.seconds * self.rate)):
            await asyncio.sleep(max(0.0, began_s + number / self.rate - time.monotonic()))
            prefix, name = prefix_of(rng.randrange(self.subscriptions)), phase.name.split()[-1]
            tasks.add(asyncio.create_task(_put(clients, phase, f"{prefix}{name}-{number}")))
            if with_ill and time.monotonic() >= ill_s:
                ill_s += ILL_EVERY_S
                for name in ("dead", "slow"):
                    phase.ill += 1
                    tasks.add(asyncio.create_task(_put(clients, None, f"{name}/{number}")))
        await asyncio.gather(*tasks)
        while not clients.empty():
            await clients.get_nowait().close()


def prefix_of(number: int) -> str:
    return f"{number:05}/"


async def _put(clients: "asyncio.Queue[S3Client]", phase: Phase | None, key: str) -> None:
    client = await clients.get()
    began_s = time.monotonic()
    try:
        answer = await client.request("PUT", f"/{BUCKET}/{key}", body=BODY)
    finally:
        clients.put_nowait(client)
    assert answer.status == 200, answer
    if phase is not None:
        phase.began_s[key], phase.put_s[key] = began_s, time.monotonic() - began_s


async def subscribe(found: Surroundings, count: int, port: int) -> None:
    """Make `count` well subscriptions, a dead and a slow one, each for a prefix of its own."""
    async with open_metadata(found) as metadata:
        row = (await metadata.reader.find_buckets([BUCKET]))[BUCKET]
        position = (await metadata.reader.audit_head(STREAM)).next_position
    rng, master_key = random.SystemRandom(), bytes.fromhex(found.master_key)
    wanted = [(f"/well/{number}", prefix_of(number)) for number in range(count)]
    rows = []
    for path, prefix in [*wanted, ("/dead", "dead/"), ("/slow", "slow/")]:
        name = new_id(rng)
        secret = encrypt_secret(master_key, name.hex(), new_secret())
        url, events = f"http://127.0.0.1:{port}{path}", "s3:ObjectCreated:*"
        who = (name, row.owner_id, row.bucket_id, BUCKET, url, "s3", events)
        rows.append((*who, prefix.encode(), b"", secret, position, time.time_ns() // 1000))
    connection = await asyncpg.connect(found.database_url)
    await connection.executemany(statement("webhook_put_subscription"), rows)
    waiting = "SELECT count(*) FROM webhook_subscriptions WHERE NOT is_live"
    while await connection.fetchval(waiting):
        await asyncio.sleep(0.2)
    await connection.close()


async def collect(log: Path, phase: Phase) -> None:
    """Wait until every upload's event has arrived, and note how long each took."""
    async with asyncio.timeout(ARRIVED_WITHIN_S):
        while len(phase.arrived_s) < len(phase.began_s):
            for line in (await asyncio.to_thread(log.read_text)).splitlines():
                at_s, _, key = line.partition(" ")
                if key in phase.began_s:
                    phase.arrived_s.setdefault(key, float(at_s) - phase.began_s[key])
            await asyncio.sleep(0.2)


async def measure(cluster: Cluster, options: argparse.Namespace, port: int, log: Path) -> Any:
    keys, backends = cluster.credentials, cluster.backends
    host = cluster.endpoint.partition("://")[2]
    account = Account(host, keys.root_access_key, keys.root_secret_key)
    found = Surroundings(backends.database_url, backends.kafka_bootstrap_servers, keys.master_key)
    client = S3Client(account)
    assert (await client.request("PUT", f"/{BUCKET}")).status == 200
    await client.close()
    load = Load(account, options.seconds, options.rate, options.subscriptions)
    await load.run(Phase("warm"), with_ill=False)
    phases = [Phase(name) for name in PHASES]
    for phase in phases:
        if phase.name == WELL:
            await subscribe(found, options.subscriptions, port)
        await load.run(phase, with_ill=phase.name == ILL)
        if phase is not phases[0]:
            await collect(log, phase)
    return phases


@contextlib.contextmanager
def receivers(log: Path) -> Iterator[int]:
    """Run the receivers' process; yield its port."""
    log.touch()
    command = [sys.executable, "-m", "tests.bench.webhook_receiver", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def by_second(
    values: Mapping[str, float], began_s: Mapping[str, float], start_s: float
) -> dict[int, list[float]]:
    """Return milliseconds by the second in which each began."""
    found: dict[int, list[float]] = {}
    for key, value in values.items():
        found.setdefault(int(began_s[key] - start_s), []).append(1000 * value)
    return dict(sorted(found.items()))


def draw(phases: Sequence[Phase], title: str, path: Path) -> None:
    """Write the plot: of each second the median and the largest, phase after phase."""
    plt = importlib.import_module("tests.bench.plot").plt  # Only who draws needs it.
    figure, axes = plt.subplots(2, 1, figsize=(11, 6), sharex=True)
    start_s = min(phases[0].began_s.values())
    for number, phase in enumerate(phases):
        for axis, values in zip(axes, (phase.put_s, phase.arrived_s), strict=True):
            seconds = by_second(values, phase.began_s, start_s)
            if not seconds:
                continue
            medians = [statistics.median(found) for found in seconds.values()]
            axis.plot(list(seconds), medians, color=f"C{number}", label=phase.name)
            largest = [max(found) for found in seconds.values()]
            axis.plot(list(seconds), largest, ".", ms=4, color=f"C{number}")
    what_s = ("PUT of 4 KiB, ms", "PUT begun to delivered, ms")
    for axis, what in zip(axes, what_s, strict=True):
        axis.set(ylabel=what, yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="lower right")
    axes[1].set_xlabel("seconds; lines: the median of each second, dots: the largest")
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=40.0, help="of each phase")
    parser.add_argument("--subscriptions", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=20.0, help="uploads a second")
    parser.add_argument("--cache-dir", type=Path, default=Path(".cache"))
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    name = f"webhooks-{int(time.time())}"
    data, log = options.out / name, (options.out / f"{name}.log").absolute()
    cluster = Cluster(ClusterOptions(data_dir=data, cache_dir=options.cache_dir, port=0))
    cluster.start()
    try:
        with receivers(log) as port:
            phases = asyncio.run(measure(cluster, options, port, log))
    finally:
        cluster.stop()
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    title = f"{options.subscriptions:,} webhooks, {options.rate:g} uploads a second; {today}"
    rows = [phase.row() for phase in phases]
    (options.out / "webhooks.json").write_text(json.dumps({"title": title, "rows": rows}, indent=2))
    draw(phases, title, options.out / "webhooks.svg")
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
