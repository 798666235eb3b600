"""The doctor looks and changes nothing, and what it cannot ask is a finding."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.model.route_rows import route

from fileflux.console import doctor
from fileflux.console.doctor import examine
from fileflux.console.wiring import Surroundings
from fileflux.core.clock import ManualClock
from fileflux.events.memory import MemoryBroker
from fileflux.events.ports import TopicsFound
from fileflux.events.topics import AUDIT
from fileflux.metadata.route_rows import Route


class Watched(MemoryBroker):
    """Nobody may change it."""

    found = TopicsFound()

    async def ensure_topics(self) -> None:
        raise AssertionError("a doctor makes no topics")

    async def check_topics(self) -> TopicsFound:
        return self.found


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Watched:
    made = Watched(clock=ManualClock())

    @asynccontextmanager
    async def open_watched(_found: Surroundings) -> AsyncIterator[Watched]:
        yield made

    @asynccontextmanager
    async def open_nothing(_found: Surroundings) -> AsyncIterator[None]:
        raise LookupError("no such table")
        yield

    monkeypatch.setattr(doctor, "open_broker", open_watched)
    monkeypatch.setattr(doctor, "open_metadata", open_nothing)
    monkeypatch.setattr(doctor, "open_routes", open_nothing)
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "FILEFLUX_MASTER_KEY"):
        monkeypatch.setenv(name, "somewhere")
    return made


async def test_what_is_wrong_is_an_error_and_what_is_missing_a_warning(
    broker: Watched, tmp_path: Path
) -> None:
    broker.found = TopicsFound(missing=(AUDIT,), problems=("flush.messages is unknown, not 1",))

    topics = [one for one in await examine(tmp_path) if one.check == "topics"]

    assert [one.level for one in topics] == ["error", "warning"]
    assert all(one.advice for one in topics)
    assert AUDIT in topics[1].text


async def test_what_cannot_be_asked_is_a_finding_and_no_traceback(
    broker: Watched, tmp_path: Path
) -> None:
    """A database without our tables, for instance."""
    findings = {one.check: one for one in await examine(tmp_path)}

    assert findings["topics"].level == "ok"
    assert findings["database"].level == findings["lag"].level == "error"
    assert "no such table" in findings["database"].text


async def test_a_route_that_does_not_get_on_is_a_warning(
    broker: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = route(name="alices", problem="AccessDenied: no")

    class Store:
        async def routes(self) -> list[Route]:
            return [route(name="well"), stuck]

    @asynccontextmanager
    async def open_some(_found: Surroundings) -> AsyncIterator[tuple[Store, None]]:
        yield Store(), None

    monkeypatch.setattr(doctor, "open_routes", open_some)
    (found,) = [one for one in await examine(tmp_path) if one.check == "routes"]

    assert (found.level, found.text) == ("warning", "alices: AccessDenied: no")
    assert "routes-behind" in found.advice
