"""What starting the system is doing just now, for whoever shows it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """`state`: begun, ended, failed. `seconds`: since it began. `detail`: a few words."""

    name: str
    state: str
    seconds: float = 0.0
    detail: str = ""


OnStep = Callable[[Step], None]


def ignore_steps(_step: Step) -> None:
    """For callers that show nothing."""


@contextmanager
def step(name: str, on_step: OnStep) -> Iterator[None]:
    """Report the begin and the end of what happens inside."""
    began = time.monotonic()
    on_step(Step(name, "begun"))
    try:
        yield
    except BaseException:
        on_step(Step(name, "failed", time.monotonic() - began))
        raise
    on_step(Step(name, "ended", time.monotonic() - began))
