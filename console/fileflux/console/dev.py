"""`fileflux dev`: the whole system in the foreground, tended until Ctrl-C."""

import json
import sys
import time
from typing import Final

from rich.console import Console
from rich.markup import escape

from fileflux.console.cluster import Cluster, ClusterFailed, describe
from fileflux.console.data_dir import DataDirProblem
from fileflux.console.interruption import Interrupted, Interruption
from fileflux.console.kafka_jars import KafkaJarsUnavailable
from fileflux.console.local_server import ServerNotStopped, ServerStartFailed
from fileflux.console.port_choice import PortTaken
from fileflux.console.postgres_home import NoPostgresPrograms
from fileflux.console.services import ClusterOptions
from fileflux.console.status_view import StatusView
from fileflux.console.steps import Step

TEND_INTERVAL_S: Final = 0.5
START_PROBLEMS: Final = (
    ClusterFailed,
    DataDirProblem,
    KafkaJarsUnavailable,
    NoPostgresPrograms,
    PortTaken,
    ServerNotStopped,
    ServerStartFailed,
)


def run_dev(options: ClusterOptions, *, as_json: bool) -> int:
    """Return the exit code: 0 after Ctrl-C or SIGTERM, 1 when it could not start, go on or stop."""
    out = Console(stderr=as_json, highlight=False)
    interruption = Interruption()
    interruption.listen()
    cluster = Cluster(options, lambda one: _show_step(out, one), wait=interruption.wait)
    try:
        cluster.start()
    except Interrupted as asked:
        out.print("stopped while starting", *map(escape, notes_of(asked)))
        return int(bool(notes_of(asked)))
    except START_PROBLEMS as error:
        say_problem(out, "cannot start", error)
        return 1
    code = _run_started(cluster, out, interruption, as_json=as_json)
    return max(code, stop_cluster(cluster, out))


def _run_started(
    cluster: Cluster, out: Console, interruption: Interruption, *, as_json: bool
) -> int:
    try:
        announce(cluster, out, as_json=as_json)
        _tend(cluster, out, interruption)
    except Interrupted:  # While something was started again.
        return 0
    except START_PROBLEMS as error:
        say_problem(out, "cannot go on", error)
        return 1
    except BaseException:
        stop_cluster(cluster, out)
        raise
    return 0


def stop_cluster(cluster: Cluster, out: Console) -> int:
    """Stop it and say so; return the exit code."""
    out.print("stopping …")
    try:
        cluster.stop()
    except ServerNotStopped as error:
        say_problem(out, "not everything stopped", error)
        return 1
    out.print("stopped; the data is in", escape(str(cluster.data.root)))
    return 0


def say_problem(out: Console, what: str, error: BaseException) -> None:
    out.print(f"[red]{what}:[/red] {escape(str(error))}")
    for note in notes_of(error):
        out.print(f"  {escape(note)}")


def notes_of(error: BaseException) -> list[str]:
    """What went wrong besides, such as a server that did not stop."""
    return getattr(error, "__notes__", [])


def _show_step(out: Console, one: Step) -> None:
    if one.state == "ended":
        out.print(f"  [green]✓[/green] {one.name} [dim]{one.detail} {one.seconds:.1f} s[/dim]")
    elif one.state == "failed":
        out.print(f"  [red]✗[/red] {one.name} [dim]{one.seconds:.1f} s[/dim]")


def announce(cluster: Cluster, out: Console, *, as_json: bool) -> None:
    """Say where the system is and how to get in."""
    if as_json:
        print(json.dumps(describe(cluster)), flush=True)
        return
    credentials, kafka = cluster.credentials, cluster.backends.kafka_bootstrap_servers
    out.print(f"\n  endpoint    [bold]{cluster.endpoint}[/bold]")
    out.print(f"  access key  {escape(credentials.root_access_key)}")
    out.print(f"  secret key  {escape(credentials.root_secret_key)}")
    out.print(f"  events      KAFKA_BOOTSTRAP_SERVERS={escape(kafka)}")
    out.print(f"  data        {escape(str(cluster.data.root))}\n")


def _tend(cluster: Cluster, out: Console, interruption: Interruption) -> None:
    view = StatusView(cluster, out) if sys.stdout.isatty() and out.is_terminal else None
    try:
        while not interruption.is_asked_within(TEND_INTERVAL_S):
            for name in cluster.tend():
                line = f"{name} ended and was started again; log: {cluster.data.logs}"
                (view.note if view else out.print)(f"{time.strftime('%H:%M:%S')} {line}")
            if view:
                view.refresh()
    finally:
        if view:
            view.close()
