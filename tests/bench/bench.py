"""Measure an S3 endpoint, or FileFlux itself with every service's CPU and memory.

    python -m tests.bench.bench                          FileFlux, R=1, then R=3/W=2
    python -m tests.bench.bench --endpoint URL --access-key K --secret-key S    any other store

Prints ops/s, MB/s, p50 and p99 beside the machine's own ceilings from the same run, writes JSON and
a plot. Compare figures only inside one run: the machine drifts.
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
from rich.console import Console
from rich.table import Table
from tests.bench import ceilings
from tests.bench.signing import Account
from tests.bench.usage import Transactions, Usage, transactions_of, usage_of
from tests.bench.workloads import Bench, Plan, Row

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions

OUT = Console(stderr=True, highlight=False)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    directory = Path(options.out)
    directory.mkdir(parents=True, exist_ok=True)
    result: dict[str, object] = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "ceilings": ceilings.measure(directory / "ceilings"),
        "runs": [],
    }
    OUT.print({name: round(value) for name, value in result["ceilings"].items()})  # type: ignore[attr-defined]
    runs = [_run_endpoint(options)] if options.endpoint else _run_fileflux(options, directory)
    result["runs"] = runs
    (directory / "bench.json").write_text(json.dumps(result, indent=2))
    if options.plot:
        from tests.bench.plot import draw

        draw(result, directory / "bench.svg")
    if options.json:
        json.dump(result, sys.stdout)
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--endpoint", help="an S3 endpoint; without it FileFlux is started")
    parser.add_argument("--access-key", default="")
    parser.add_argument("--secret-key", default="")
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--seconds", type=float, default=5.0, help="aimed at per cell")
    parser.add_argument("--clients", default="1,16,64")
    parser.add_argument("--sizes", default="4K,64K,1M,64M")
    parser.add_argument("--classes", default="SINGLE,STANDARD", help="FileFlux's classes to run")
    parser.add_argument("--sign-bodies", action="store_true", help="SHA-256 instead of unsigned")
    parser.add_argument("--only-put-get", action="store_true")
    parser.add_argument("--cache-dir", default=".cache")
    parser.add_argument("--out", default="bench-results")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the result on standard output")
    parser.add_argument("--no-plot", dest="plot", action="store_false")
    return parser.parse_args(argv)


def _run_endpoint(options: argparse.Namespace) -> dict[str, object]:
    parts = urlsplit(options.endpoint)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    account = Account(parts.netloc, options.access_key, options.secret_key, options.region)
    rows = uvloop.run(_measure(account, address, _plan(options), options, ()))
    _show(options.endpoint, rows, {})
    return {"target": options.endpoint, "rows": [row.as_json() for row in rows]}


def _run_fileflux(options: argparse.Namespace, directory: Path) -> "list[dict[str, object]]":
    cluster = Cluster(
        ClusterOptions(
            data_dir=directory / f"data-{int(time.time())}",
            cache_dir=Path(options.cache_dir),
            port=0,
            workers=options.workers,
        )
    )
    cluster.start()
    try:
        return [_run_class(cluster, options, name) for name in options.classes.split(",")]
    finally:
        cluster.stop()


def _run_class(cluster: Cluster, options: argparse.Namespace, name: str) -> dict[str, object]:
    host, port = cluster.options.host, cluster.ports["ingest"]
    keys = cluster.credentials
    account = Account(f"{host}:{port}", keys.root_access_key, keys.root_secret_key)
    headers = (("x-fileflux-class", name),)
    before, counted = _usages(cluster), _transactions(cluster)
    rows = uvloop.run(
        _measure(account, (host, port), _plan(options), options, headers, lambda: _cpu_s(cluster))
    )
    after = _usages(cluster)
    used = {
        service: Usage(after[service].cpu_s - before[service].cpu_s, after[service].pss_mib)
        for service in after
        if service in before
    }
    _show(f"FileFlux, class {name}", rows, used)
    now = _transactions(cluster)
    committed = now.committed - counted.committed
    again = now.failed_40001 - counted.failed_40001
    OUT.print(f"  {committed} transactions, {again} attempts run again for 40001")
    return {
        "target": f"fileflux {name}",
        "transactions": {"committed": committed, "failed_40001": again},
        "rows": [row.as_json() for row in rows],
        "services": {s: {"cpu_s": u.cpu_s, "pss_mib": round(u.pss_mib)} for s, u in used.items()},
    }


def _usages(cluster: Cluster) -> dict[str, Usage]:
    pids = {name: service.pid for name, service in cluster.services.items()}
    return {
        name: usage_of(pid)
        for name, pid in {**pids, **cluster.servers.pids()}.items()
        if pid is not None
    }


def _transactions(cluster: Cluster) -> Transactions:
    ports = (service.ports().get("ops") for service in cluster.services.values())
    return transactions_of(port for port in ports if port is not None)


def _cpu_s(cluster: Cluster) -> dict[str, float]:
    used = {name: one.cpu_s for name, one in _usages(cluster).items()}
    return {**used, "generator": time.process_time()}


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        seconds=options.seconds,
        clients=tuple(int(n) for n in options.clients.split(",")),
        sizes=tuple(options.sizes.split(",")),
        sign_bodies=options.sign_bodies,
    )


async def _measure(
    account: Account,
    address: tuple[str, int],
    plan: Plan,
    options: argparse.Namespace,
    headers: tuple[tuple[str, str], ...],
    cpu_s: Callable[[], Mapping[str, float]] = dict,
) -> "list[Row]":
    bench = Bench(account, address, f"bench-{int(time.time())}", plan, cpu_s)
    await bench.create_bucket(headers)
    rows = await bench.put_and_get()
    if not options.only_put_get:
        for one in (bench.head, bench.delete, bench.list_all, bench.multipart):
            rows.append(await one())
    return rows


def _show(title: str, rows: "list[Row]", used: dict[str, Usage]) -> None:
    table = Table(title=title, box=None)
    names = ("name", "clients", "ops_per_s", "mb_per_s", "p50_ms", "p99_ms", "requests", "errors")
    for name in names:
        table.add_column(name, justify="left" if name == "name" else "right")
    for row in rows:
        table.add_row(*(str(row.as_json()[name]) for name in names))
    OUT.print(table)
    _show_cpu(rows)
    for service, one in used.items():
        OUT.print(f"  {service:<14} {one.cpu_s:8.1f} CPU s {one.pss_mib:8.0f} MiB PSS")


def _show_cpu(rows: "list[Row]") -> None:
    """CPU milliseconds per request: what a change saves, whatever else the machine does."""
    measured = [row for row in rows if row.cpu_s]
    if not measured:
        return
    services = list(measured[0].cpu_s)
    table = Table(title="CPU ms per request", box=None)
    for name in ("name", "clients", *services, "all"):
        table.add_column(name, justify="left" if name == "name" else "right")
    for row in measured:
        used = [1000 * row.cpu_s[one] / len(row.measured.latencies_s) for one in services]
        told = (f"{one:.2f}" for one in [*used, sum(used)])
        table.add_row(row.name, str(row.clients), *told)
    OUT.print(table)


if __name__ == "__main__":
    sys.exit(main())
