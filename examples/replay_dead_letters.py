"""Show the dead letters of a topic; with --replay publish them again where they came from.

KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/replay_dead_letters.py \
    fileflux.uploads.sealed [--replay]
"""

import asyncio
import sys

from fileflux.core.clock import SystemClock
from fileflux.core.settings import CommonSettings, load_settings
from fileflux.events.dead_letter import read_dead_letter, replay
from fileflux.events.kafka import open_kafka
from fileflux.events.ports import Broker, Record
from fileflux.events.topics import dead_letter_topic


async def main(topic: str, *, again: bool) -> None:
    broker = open_kafka(load_settings(CommonSettings), SystemClock())
    try:
        records = await read_all(broker, dead_letter_topic(topic))
        for record in records:
            letter = read_dead_letter(record)
            print(f"{letter.topic} {letter.partition}@{letter.offset}: {letter.cause}")
        if again:
            count = await replay(records, await broker.safe_publisher())
            print(f"{count} records published again; their handlers bear them twice")
    finally:
        await broker.close()


async def read_all(broker: Broker, topic: str) -> list[Record]:
    """Return the records that the topic holds now."""
    source = await broker.source([(topic, 0)])
    first, end = await source.bounds(topic, 0)
    await source.seek(topic, 0, first)
    found: list[Record] = []
    while first < end:
        for record in await source.fetch(wait_s=1.0):
            found.append(record)
            first = record.position.offset + 1
    await source.close()
    return found


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], again="--replay" in sys.argv[2:]))
