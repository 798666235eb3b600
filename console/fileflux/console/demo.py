"""`make demo`: the whole system, a real directory stored and fetched, every byte compared."""

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

from rich.console import Console

from fileflux.console.cluster import Cluster
from fileflux.console.commands_audit import trace_of
from fileflux.console.demo_client_runs import DemoPlace, store_and_fetch
from fileflux.console.demo_files import DemoFiles
from fileflux.console.demo_result import DemoLimits, collect_and_say, say_result
from fileflux.console.dev import START_PROBLEMS, say_problem, stop_cluster
from fileflux.console.interruption import Interrupted, Interruption
from fileflux.console.services import ClusterOptions
from fileflux.console.steps import Step
from fileflux.console.upload_story import reasons_of, show_hops, show_places
from fileflux.console.wiring import find_surroundings, open_broker

BUCKET: Final = "demo"
SHOWN_KEYS: Final = 4


def run_demo(
    options: ClusterOptions,
    *,
    source: Path | None,
    client_python: Path,
    limits: DemoLimits,
    as_json: bool = False,
) -> int:
    """Return the exit code: 0 when there was no difference."""
    began = time.monotonic()
    interruption = Interruption()
    interruption.listen()
    out = Console(stderr=as_json, highlight=False)
    cluster = Cluster(options, lambda one: _show_step(out, one), wait=interruption.wait)
    out.print("[bold]FileFlux demo[/bold]: starting the system")
    try:
        cluster.start()
    except (Interrupted, *START_PROBLEMS) as error:
        say_problem(out, "cannot start", error)
        return 1
    try:
        _end_on_signals(interruption)
        found = collect_and_say(out, cluster.data.root / "demo-files", source, limits)
        bucket = f"{BUCKET}-{int(time.time())}"
        differences = _store_and_fetch(out, cluster, found, bucket, client_python)
        _tell(out, cluster, bucket, found)
    finally:
        stopped = stop_cluster(cluster, out)
    say_result(out, found, differences, began=began, as_json=as_json)
    return max(stopped, int(bool(differences)))


def _end_on_signals(interruption: Interruption) -> None:
    """From now on they end what we do at once: nothing is left running behind us."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if interruption.is_asked_within(0.0):
        raise KeyboardInterrupt


def _show_step(out: Console, one: Step) -> None:
    if one.state == "ended":
        out.print(f"  [green]✓[/green] {one.name:<16} [dim]{one.seconds:5.1f} s {one.detail}[/dim]")
    elif one.state == "failed":
        out.print(f"  [red]✗[/red] {one.name:<16} [dim]{one.seconds:5.1f} s[/dim]")


def _store_and_fetch(
    out: Console, cluster: Cluster, found: DemoFiles, bucket: str, client_python: Path
) -> int:
    keys = cluster.credentials
    place = DemoPlace(cluster.endpoint, keys.root_access_key, keys.root_secret_key, bucket)
    return store_and_fetch(out, place, found, client_python)


def _tell(out: Console, cluster: Cluster, bucket: str, found: DemoFiles) -> None:
    """Where some files' bundles live and why there; the hops of one upload with their times."""
    step = max(1, len(found.files) // SHOWN_KEYS)
    keys = [key for key, _ in found.files[1::step]][:SHOWN_KEYS]
    out.print("\nwhere some files live, and why there")
    asyncio.run(_tell_uploads(out, cluster, bucket, keys))


async def _tell_uploads(out: Console, cluster: Cluster, bucket: str, keys: list[str]) -> None:
    where = find_surroundings(cluster.data.root)
    last = None
    async with open_broker(where) as broker:
        for key in keys:
            traced = await trace_of(where, bucket, key.encode())
            if traced is not None:
                show_places(out, traced.record, await reasons_of(broker, traced.record))
                last = traced
    if last is not None:
        out.print("\nthe events of the last one")
        show_hops(out, last)
