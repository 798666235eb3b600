"""Whoever is asked to stop is not ready any more, so that balancers look elsewhere first."""

import asyncio

from fileflux.ingest.wiring import readiness


def test_it_is_ready_while_nothing_is_wrong() -> None:
    assert readiness(asyncio.Event(), None) is None


def test_a_problem_is_said() -> None:
    assert readiness(asyncio.Event(), "no placement map") == "no placement map"


def test_it_is_not_ready_once_it_was_asked_to_stop() -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert readiness(stopping, None) == "stopping"
