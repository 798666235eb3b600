"""Where a lone PUT's time goes: medians between the hops that its audit record tells.

    python -m tests.bench.hops --puts 200

Starts FileFlux, sends PUTs of 4 KiB one after another, and reads their records back. The first node
of a bundle counts (R=1). What the records cannot tell is the way back: from the transaction's stamp
to the client's last byte is the client's median less the rest.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table
from tests.bench.load import run_load
from tests.bench.signing import Account
from tests.bench.workloads import Bench, Plan

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions
from fileflux.console.wiring import find_surroundings, open_metadata
from fileflux.metadata.audit_log import read_database
from fileflux.metadata.audit_record import decode_record

HOPS = ("received", "staged", "sealed", "node read it", "pulled", "durable", "stamped")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Median time between the hops of a lone PUT.")
    parser.add_argument("--puts", type=int, default=200)
    parser.add_argument("--cache-dir", default=os.environ.get("FILEFLUX_CACHE_DIR", ".cache"))
    parser.add_argument("--out", default="bench-results")
    options = parser.parse_args(argv)
    data_dir = Path(options.out) / f"hops-{int(time.time())}"
    cluster = Cluster(ClusterOptions(data_dir=data_dir, cache_dir=Path(options.cache_dir), port=0))
    cluster.start()
    try:
        client_ms = uvloop.run(_put_one_by_one(cluster, options.puts))
        hops = asyncio.run(_hops(cluster, options.puts))
    finally:
        cluster.stop()
    _show(client_ms, hops)
    return 0


async def _put_one_by_one(cluster: Cluster, count: int) -> float:
    host, port = cluster.options.host, cluster.ports["ingest"]
    keys = cluster.credentials
    account = Account(f"{host}:{port}", keys.root_access_key, keys.root_secret_key)
    bench = Bench(account, (host, port), "hops", Plan(seconds=1))
    await bench.create_bucket((("x-fileflux-class", "SINGLE"),))
    body = os.urandom(4096)
    requests = [bench.put(f"k{number:05}", body) for number in range(count)]
    measured = await run_load((host, port), requests, clients=1)
    assert not measured.errors
    return measured.quantile_ms(0.5)


async def _hops(cluster: Cluster, count: int) -> list[list[float]]:
    """Milliseconds between neighbouring hops, one list per upload."""
    async with open_metadata(find_surroundings(cluster.data.root)) as metadata:
        found: list[list[float]] = []
        async for numbered in read_database(metadata.reader):
            record = decode_record(numbered.payload)
            if record.bucket == "hops" and record.operation == "PutObject":
                found.append(_between(dict(record.facts), record.stamp))
        return found[-count:]


def _between(facts: dict[str, object], stamp: int) -> list[float]:
    hops, bundles = facts["hops"], facts["bundles"]
    assert isinstance(hops, dict)
    assert isinstance(bundles, list)
    commit = bundles[0]["commits"][0]
    times = [
        *(hops[f"{name}_us"] for name in ("received", "staged", "sealed")),
        *(commit[f"{name}_us"] for name in ("received", "pulled", "durable")),
        stamp,
    ]
    return [(later - earlier) / 1000 for earlier, later in itertools.pairwise(times)]


def _show(client_ms: float, hops: list[list[float]]) -> None:
    table = Table(title=f"lone PUT of 4 KiB, R=1: median of {len(hops)}", box=None)
    table.add_column("from → to")
    table.add_column("ms", justify="right")
    medians = [statistics.median(column) for column in zip(*hops, strict=True)]
    for earlier, later, ms in zip(HOPS, HOPS[1:], medians, strict=False):
        table.add_row(f"{earlier} → {later}", f"{ms:.2f}")
    table.add_row("stamped → answered (the rest)", f"{client_ms - sum(medians):.2f}")
    table.add_row("client's p50", f"{client_ms:.2f}")
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
