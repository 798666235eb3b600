"""`fileflux dev`: the whole system in the foreground, tended until Ctrl-C."""

import json
import signal
import sys
import threading
import time
from types import FrameType
from typing import Final

from rich.console import Console
from rich.markup import escape

from fileflux.console.cluster import Cluster, ClusterFailed, describe
from fileflux.console.cockroach_server import CockroachStartFailed
from fileflux.console.data_dir import DataDirProblem
from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.kafka_server import KafkaStartFailed
from fileflux.console.port_choice import PortTaken
from fileflux.console.postgres_home import NoPostgresPrograms
from fileflux.console.postgres_server import PostgresStartFailed
from fileflux.console.services import ClusterOptions
from fileflux.console.status_view import StatusView
from fileflux.console.steps import Step

TEND_INTERVAL_S: Final = 0.5
START_PROBLEMS: Final = (
    ClusterFailed,
    CockroachStartFailed,
    DataDirProblem,
    KafkaJarsUnavailable,
    KafkaStartFailed,
    NoPostgresPrograms,
    PortTaken,
    PostgresStartFailed,
)


class Interrupted(Exception):
    """Somebody asked us to stop while we were starting."""


def run_dev(options: ClusterOptions, *, as_json: bool) -> int:
    """Return the exit code: 0 after Ctrl-C or SIGTERM, 1 when it could not start or go on."""
    out = Console(stderr=as_json, highlight=False)
    stopping = threading.Event()
    _stop_on_signals(stopping)
    cluster = Cluster(options, on_step=lambda one: _show_step(out, one, stopping))
    try:
        cluster.start()
    except Interrupted:
        return 0
    except START_PROBLEMS as error:
        out.print(f"[red]cannot start:[/red] {escape(str(error))}")
        return 1
    try:
        _announce(cluster, out, as_json=as_json)
        _tend(cluster, out, stopping)
    except START_PROBLEMS as error:
        out.print(f"[red]cannot go on:[/red] {escape(str(error))}")
        return 1
    finally:
        out.print("stopping …")
        cluster.stop()
        out.print("stopped; the data is in", escape(str(cluster.data.root)))
    return 0


def _stop_on_signals(stopping: threading.Event) -> None:
    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)


def _show_step(out: Console, one: Step, stopping: threading.Event) -> None:
    if stopping.is_set():
        raise Interrupted
    if one.state == "ended":
        out.print(f"  [green]✓[/green] {one.name} [dim]{one.detail} {one.seconds:.1f} s[/dim]")
    elif one.state == "failed":
        out.print(f"  [red]✗[/red] {one.name} [dim]{one.seconds:.1f} s[/dim]")


def _announce(cluster: Cluster, out: Console, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(describe(cluster)), flush=True)
        return
    credentials = cluster.credentials
    out.print(f"\n  endpoint    [bold]{cluster.endpoint}[/bold]")
    out.print(f"  access key  {escape(credentials.root_access_key)}")
    out.print(f"  secret key  {escape(credentials.root_secret_key)}")
    out.print(f"  data        {escape(str(cluster.data.root))}\n")


def _tend(cluster: Cluster, out: Console, stopping: threading.Event) -> None:
    view = StatusView(cluster, out) if sys.stdout.isatty() and out.is_terminal else None
    try:
        while not stopping.wait(TEND_INTERVAL_S):
            for name in cluster.tend():
                line = f"{name} ended and was started again; log: {cluster.data.logs}"
                (view.note if view else out.print)(f"{time.strftime('%H:%M:%S')} {line}")
            if view:
                view.refresh()
    finally:
        if view:
            view.close()
