"""Counters and times of requests: the original system's four counters, and S3's by operation."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from fileflux.core.telemetry import (
    DELETE_REQUESTS,
    GET_REQUESTS,
    HEAD_REQUESTS,
    PUT_REQUESTS,
    S3_LATENCY,
    S3_REQUESTS,
)

BY_METHOD = {
    "GET": GET_REQUESTS,
    "PUT": PUT_REQUESTS,
    "HEAD": HEAD_REQUESTS,
    "DELETE": DELETE_REQUESTS,
}


@dataclass(slots=True)
class Measured:
    """Filled in while the request is answered."""

    operation: str = "unknown"
    status: int = 500


class RequestMetrics:
    """Keeps the labelled children: looking them up costs more than counting."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, int], Counter] = {}
        self._times: dict[str, Histogram] = {}

    @contextmanager
    def measure(self, method: str) -> Iterator[Measured]:
        """Count the request when it has been answered."""
        measured, began = Measured(), time.perf_counter()
        try:
            yield measured
        finally:
            self._count(method, measured, time.perf_counter() - began)

    def _count(self, method: str, measured: Measured, took_s: float) -> None:
        by_method = BY_METHOD.get(method)
        if by_method is not None:
            by_method.inc()
        key = (measured.operation, measured.status // 100)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = S3_REQUESTS.labels(key[0], f"{key[1]}xx")
        counter.inc()
        times = self._times.get(measured.operation)
        if times is None:
            times = self._times[measured.operation] = S3_LATENCY.labels(measured.operation)
        times.observe(took_s)
