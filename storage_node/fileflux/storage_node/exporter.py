"""The pool's figures as Prometheus metrics, by the names that dashboards already use.

A port of its own, 9134; further nodes on a host take the next free ones.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fileflux.core.errors import Invalid
from fileflux.core.ops import EmbeddedServer, bound_socket
from fileflux.storage_node.heartbeat import PoolWatch
from fileflux.storage_node.pool import PoolCondition, PoolFigures

PORTS_TRIED: Final = 64

_Message = MutableMapping[str, Any]
_PoolValue = Callable[[PoolFigures], float | None]


def _of_condition(value_of: Callable[[PoolCondition], float | None]) -> _PoolValue:
    """None where ZFS did not tell its condition."""
    return lambda pool: None if pool.condition is None else value_of(pool.condition)


POOL_METRICS: Final[dict[str, tuple[str, _PoolValue]]] = {
    "zfs_pool_size_bytes": ("Size of the pool.", lambda pool: pool.size_bytes),
    "zfs_pool_allocated_bytes": ("Allocated in the pool.", lambda pool: pool.allocated_bytes),
    "zfs_pool_free_bytes": ("Free in the pool.", lambda pool: pool.free_bytes),
    "zfs_pool_fragmentation_percent": (
        "Fragmentation of the free space; missing where ZFS does not tell.",
        lambda pool: pool.fragmentation_percent,
    ),
    "zfs_pool_capacity_percent": ("Used share of the pool.", lambda pool: pool.capacity_percent),
    "zfs_pool_health_status": (
        "0 ONLINE, 1 DEGRADED, 2 FAULTED, 3 OFFLINE, 4 UNAVAIL, 5 REMOVED, 6 SUSPENDED, 7 other.",
        lambda pool: pool.health_code,
    ),
    "zfs_pool_scrub_timestamp_seconds": (
        "When the last scrub ended, since 1970; missing before the first.",
        _of_condition(lambda condition: condition.scrubbed_s),
    ),
    "zfs_pool_read_errors": (
        "Reads that failed, of all disks since the last clear.",
        _of_condition(lambda condition: condition.read_errors),
    ),
    "zfs_pool_write_errors": (
        "Writes that failed, of all disks since the last clear.",
        _of_condition(lambda condition: condition.write_errors),
    ),
    "zfs_pool_checksum_errors": (
        "Blocks whose checksum did not match, of all disks since the last clear.",
        _of_condition(lambda condition: condition.checksum_errors),
    ),
}

FILESYSTEM_METRICS: Final = {
    "zfs_filesystem_used_bytes": "used_bytes",
    "zfs_filesystem_available_bytes": "available_bytes",
    "zfs_filesystem_refer_bytes": "referenced_bytes",
}


class PoolCollector(Collector):
    """Gives the latest figures; nothing while the pool does not answer."""

    def __init__(self, pool: PoolWatch) -> None:
        self._pool = pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        figures = self._pool.latest
        if figures is None:
            return
        for name, (text, value_of) in POOL_METRICS.items():
            value = value_of(figures)
            if value is not None:
                family = GaugeMetricFamily(name, text, labels=["pool"])
                family.add_metric([figures.name], value)
                yield family
        yield from _filesystem_families(figures)


def _filesystem_families(figures: PoolFigures) -> Iterator[GaugeMetricFamily]:
    for name, attribute in FILESYSTEM_METRICS.items():
        text = f"The file system's `{attribute.removesuffix('_bytes')}`."
        family = GaugeMetricFamily(name, text, labels=["pool", "filesystem"])
        for filesystem in figures.filesystems:
            family.add_metric([figures.name, filesystem.name], getattr(filesystem, attribute))
        yield family


async def start_exporter(pool: PoolWatch, host: str, port: int) -> EmbeddedServer:
    """Serve `/metrics` on `port` or the next free one; 0 takes any. Raise Invalid."""
    registry = CollectorRegistry()
    registry.register(PoolCollector(pool))
    sock = _free_socket(host, port)
    config = uvicorn.Config(
        _app(registry), host=host, port=port, access_log=False, log_config=None, lifespan="off"
    )
    server = EmbeddedServer(config)
    await server.start(sock)
    return server


def _free_socket(host: str, port: int) -> socket.socket:
    """A socket that listens: only that takes a port, two may be bound to one at the same moment."""
    for candidate in range(port, port + (PORTS_TRIED if port else 1)):
        with contextlib.suppress(OSError, OverflowError):
            sock = bound_socket(host, candidate)
            try:
                sock.listen()
            except OSError:
                sock.close()
                continue
            return sock
    raise Invalid(f"no free port from {port} on for the exporter: set FILEFLUX_NODE_EXPORTER_PORT")


def _app(registry: CollectorRegistry) -> Callable[..., Awaitable[None]]:
    async def answer(scope: _Message, _receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        is_metrics = scope["path"] == "/metrics"
        body = generate_latest(registry) if is_metrics else b""
        headers = [
            (b"content-type", CONTENT_TYPE_LATEST.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        status = 200 if is_metrics else 404
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return answer
