"""Time comes in through the door: one port, a system clock, and a manual clock for tests."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the code may know about time."""

    def now_us(self) -> int:
        """Return the wall clock in microseconds since 1970 (UTC). May jump."""

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of the monotonic clock."""


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LoopClock:
    """The running event loop's time: virtual in simulations, real elsewhere."""

    def __init__(self, epoch_us: int = 1_767_225_600_000_000) -> None:
        self._epoch_us = epoch_us

    def now_us(self) -> int:
        return self._epoch_us + int(self.monotonic_s() * 1_000_000)

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves when a test says so. `sleep` advances it and yields once."""

    def __init__(self, now_us: int = 1_767_225_600_000_000) -> None:
        self._now_us = now_us
        self._monotonic_s = 0.0

    def now_us(self) -> int:
        return self._now_us

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        self._now_us += int(seconds * 1_000_000)
        self._monotonic_s += seconds
