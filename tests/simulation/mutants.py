"""Bugs planted on purpose: the simulation is worth what it finds of them.

Each is a context in which one safeguard of the real code is gone. `MUTANTS` names them; the tests
require that schedules find each within a stated number of seeds.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def _patched(holder: Any, **changes: Any) -> Iterator[None]:
    before = {name: holder.__dict__[name] for name in changes}
    for name, value in changes.items():
        setattr(holder, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(holder, name, value)


MUTANTS: dict[str, Mutant] = {}
