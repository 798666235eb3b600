"""What a broker's client made is kept while it is open, and no longer."""

import pytest

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.events.kafka.broker import KafkaBroker
from fileflux.events.kafka.source import KafkaSource
from fileflux.events.topics import AUDIT


async def _started(source: KafkaSource) -> None:
    del source


async def test_sources_that_come_and_go_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client that follows events alone opens one, and a tenant may come a million times."""
    monkeypatch.setattr(KafkaSource, "start", _started)
    broker = KafkaBroker("127.0.0.1:9", lanes=1, slots=1, clock=SystemClock())
    for _ in range(20):
        source = await broker.source([(AUDIT, 0)])
        await source.close()

    assert len(broker._made) == 1
    await broker.close()


async def test_what_could_not_be_opened_is_not_kept() -> None:
    broker = KafkaBroker("127.0.0.1:9", lanes=1, slots=1, clock=SystemClock())
    for _ in range(5):
        with pytest.raises(BrokerUnavailable):
            await broker.safe_publisher()
        with pytest.raises(BrokerUnavailable):
            await broker.source([(AUDIT, 0)])

    assert len(broker._made) == 1
    await broker.close()
