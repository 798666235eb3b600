"""Print the audit stream and check its chain, as any outside consumer may: only aiokafka is needed.

KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/read_audit.py
"""

import asyncio
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition

TOPIC = TopicPartition("fileflux.audit", 0)


class ChainBroken(Exception):
    """A record is missing or was changed. Seek back to the last good position and read again."""


@dataclass
class Chain:
    """The last position that we have, and the hash that the next record must name."""

    position: int = 0
    last_hash: bytes = bytes(32)

    def accept(self, headers: Sequence[tuple[str, bytes]], value: bytes) -> bool:
        """Return False for a record that we have already; raise ChainBroken for a wrong one."""
        found = dict(headers)
        position = int(found["ce_position"])
        if position <= self.position:
            return False
        if position != self.position + 1:
            raise ChainBroken(f"position {position} follows {self.position}")
        previous = bytes.fromhex(found["ce_prevhash"].decode())
        if previous != self.last_hash:
            raise ChainBroken(f"position {position} does not continue the chain")
        self.position = position
        self.last_hash = hashlib.sha256(previous + value).digest()
        return True


async def main() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    await consumer.start()
    chain = Chain()  # A real consumer keeps it, in the transaction of its effect.
    try:
        consumer.assign([TOPIC])
        await consumer.seek_to_beginning(TOPIC)
        async for record in consumer:
            if chain.accept(record.headers, record.value):
                headers = dict(record.headers)
                print(chain.position, headers["ce_type"].decode(), headers["ce_source"].decode())
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
