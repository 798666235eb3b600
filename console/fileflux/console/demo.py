"""`make demo`: the whole system, a real directory stored and fetched, every byte compared."""

import asyncio
import json
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from fileflux.console.cluster import Cluster
from fileflux.console.commands_audit import trace_of
from fileflux.console.demo_files import DemoFiles, collect
from fileflux.console.demo_progress import DemoProgress
from fileflux.console.dev import START_PROBLEMS, say_problem, stop_cluster
from fileflux.console.interruption import Interrupted, Interruption
from fileflux.console.services import ClusterOptions
from fileflux.console.steps import Step
from fileflux.console.upload_story import reasons_of, show_hops, show_places
from fileflux.console.wiring import find_surroundings, open_broker

CLIENT_SCRIPT: Final = Path(__file__).with_name("demo_client.py")
BUCKET: Final = "demo"
SHOWN_KEYS: Final = 4


@dataclass(frozen=True, slots=True)
class DemoLimits:
    """How much of the source directory is stored."""

    bytes_max: int
    files_max: int


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
        found = _collect(out, cluster, source, limits)
        bucket = f"{BUCKET}-{int(time.time())}"
        differences = _store_and_fetch(out, cluster, found, bucket, client_python)
        _tell(out, cluster, bucket, found)
    finally:
        stopped = stop_cluster(cluster, out)
    figures = {
        "files": len(found.files),
        "bytes": found.total_bytes,
        "differences": differences,
        "seconds": round(time.monotonic() - began),
    }
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        text = ", ".join(f"{figure} {name}" for name, figure in figures.items())
        out.print(f"demo: {text}", soft_wrap=True)
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


def _collect(out: Console, cluster: Cluster, source: Path | None, limits: DemoLimits) -> DemoFiles:
    root = source or Path(sysconfig.get_paths()["stdlib"])
    found = collect(
        root,
        cluster.data.root / "demo-files",
        bytes_max=limits.bytes_max,
        files_max=limits.files_max,
    )
    skipped = ", ".join(f"{count} {why}" for why, count in sorted(found.skipped.items()))
    out.print(
        f"storing {len(found.files)} files, {found.total_bytes / 1e6:.0f} MB, "
        f"of {escape(str(root))} (skipped: {skipped or 'none'})"
    )
    return found


def _store_and_fetch(
    out: Console, cluster: Cluster, found: DemoFiles, bucket: str, client_python: Path
) -> int:
    job = {
        "endpoint": cluster.endpoint,
        "access_key": cluster.credentials.root_access_key,
        "secret_key": cluster.credentials.root_secret_key,
        "bucket": bucket,
        "files": found.files,
    }
    with DemoProgress(out, len(found.files)) as progress:
        return _follow(_client_lines(client_python, job), progress)


def _follow(lines: Iterator[dict[str, Any]], progress: DemoProgress) -> int:
    """Return the number of differences; a client that never compared says so by -1."""
    differences = -1
    for line in lines:
        if line["phase"] in ("put", "get"):
            progress.one_more(line["phase"])
            if line.get("differs"):
                progress.say(f"[red]differs:[/red] {escape(line['key'])}")
        elif line["phase"] == "compared":
            differences = int(line["differences"])
    return differences


def _client_lines(client_python: Path, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the client; yield what it says; raise when it fails."""
    with subprocess.Popen(  # noqa: S603  # Our own script.
        [str(client_python), "-B", str(CLIENT_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        json.dump(job, client.stdin)
        client.stdin.close()
        for line in client.stdout:
            yield json.loads(line)
    if client.returncode != 0:
        raise RuntimeError(f"the S3 client ended with {client.returncode}")


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
