"""What a broker's client made is kept while it is open, and no longer."""

from types import SimpleNamespace

import pytest

from fileflux.core.clock import SystemClock
from fileflux.core.errors import BrokerUnavailable
from fileflux.events.kafka.broker import KafkaBroker
from fileflux.events.kafka.lookup import to_record
from fileflux.events.kafka.source import KafkaSource
from fileflux.events.topics import AUDIT
from fileflux.events.traced_publisher import context_of

_MESSAGE = {"topic": AUDIT, "partition": 0, "offset": 7, "key": None, "value": b"x", "timestamp": 1}


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


def test_a_header_without_a_value_is_read_as_an_empty_one() -> None:
    """Kafka has them; who asked one for its trace, or passed it on, took the record for poison."""
    headers = (("traceparent", None), ("ce_id", b"1"))
    record = to_record(SimpleNamespace(**_MESSAGE, headers=headers))

    assert record.headers == (("traceparent", b""), ("ce_id", b"1"))
    assert context_of(record) is None
