"""One readable picture of the running system: service, pid, port, health, events/s, lag."""

import time
import urllib.request
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fileflux.console.cluster import Cluster
from fileflux.console.local_server import LocalServer

EVENTS_METRIC: Final = "fileflux_events_total"
LAG_METRICS: Final = (
    "fileflux_consumer_lag_records",
    "fileflux_audit_pending_blocks",
    "fileflux_webhook_waiting",
    "fileflux_route_lag_records",
)
"""What waits for a process: records that it reads, blocks that the sequencer numbers, deliveries,
records that routes have not looked at."""
PORT_NAMES: Final = ("s3", "node", "ops")
REFRESH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`events_per_s` and `lag` are None where the service has no such figure."""

    name: str
    pid: int | None
    port: int | None
    health: str
    events_per_s: float | None
    lag: float | None


class StatusView:
    """A live table on a terminal, drawn again once a second."""

    def __init__(self, cluster: Cluster, console: Console) -> None:
        self._cluster = cluster
        self._notes: deque[str] = deque(maxlen=5)
        self._events: dict[str, tuple[float, float]] = {}
        self._next = 0.0
        self._pool = ThreadPoolExecutor(8)
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def note(self, line: str) -> None:
        self._notes.append(line)

    def refresh(self) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + REFRESH_S
        rows = [*map(self._server, self._cluster.servers.ours().items())]
        rows += self._pool.map(self._status, self._cluster.services)
        self._live.update(Group(_table(rows), *(Text(n, style="yellow") for n in self._notes)))
        self._live.refresh()

    def close(self) -> None:
        self._live.stop()
        self._pool.shutdown(wait=False)

    def _server(self, named: tuple[str, LocalServer]) -> ServiceStatus:
        """Kafka or the database, which answer no questions of ours."""
        name, server = named
        pid = server.pid if server.is_running else None
        return ServiceStatus(name, pid, server.port, "ok" if pid else "stopped", None, None)

    def _status(self, name: str) -> ServiceStatus:
        service = self._cluster.services[name]
        ports = service.ports()
        figures = scrape(ports.get("ops"))
        return ServiceStatus(
            name=name,
            pid=service.pid if service.is_running else None,
            port=port_in(ports),
            health=self._cluster.health(name, "ready") or "ok",
            events_per_s=self._rate(name, figures.get(EVENTS_METRIC)),
            lag=lag_in(figures),
        )

    def _rate(self, name: str, total: float | None) -> float | None:
        if total is None:
            return None
        now = time.monotonic()
        before_at, before = self._events.get(name, (now, total))
        self._events[name] = (now, total)
        return max(0.0, total - before) / (now - before_at) if now > before_at else 0.0


def _table(rows: list[ServiceStatus]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("service", "pid", "port", "health", "events/s", "lag"):
        table.add_column(
            column,
            justify="right" if column in ("events/s", "lag") else "left",
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        style = "green" if row.health == "ok" else "yellow" if row.pid else "red"
        table.add_row(
            row.name,
            str(row.pid or "-"),
            str(row.port or "-"),
            Text(row.health if row.pid else "stopped", style=style),
            "-" if row.events_per_s is None else f"{row.events_per_s:.0f}",
            "-" if row.lag is None else f"{row.lag:.0f}",
        )
    return table


def scrape(port: int | None) -> dict[str, float]:
    """Each metric's sum over its labels; empty when the service does not answer."""
    if port is None:
        return {}
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1) as answer:
            return sum_metrics(answer.read().decode())
    except (OSError, ValueError, HTTPException):  # A stranger may have got a port that was ours.
        return {}


def port_in(ports: Mapping[str, int]) -> int | None:
    """The one that others use, of those that a service announced."""
    return next((ports[name] for name in PORT_NAMES if name in ports), None)


def lag_in(figures: Mapping[str, float]) -> float | None:
    """None where a process waits for nothing."""
    found = [figures[name] for name in LAG_METRICS if name in figures]
    return sum(found) if found else None


def sum_metrics(text: str) -> dict[str, float]:
    """Prometheus text → name → sum of its samples."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#") or " " not in line:
            continue
        name_and_labels, _, value = line.rpartition(" ")
        name = name_and_labels.partition("{")[0]
        sums[name] = sums.get(name, 0.0) + float(value)
    return sums
