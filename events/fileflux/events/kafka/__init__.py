"""The adapter to Apache Kafka: the only place that names aiokafka.

Publishers put a deadline on every send and are made anew after a time-out or a sequence error,
because aiokafka's producer can stay broken. Sources read chosen partitions without a group, notice
by themselves that nothing comes although there is something, and start a new consumer where the
old one stood.
"""

from fileflux.events.kafka.broker import KafkaBroker, open_kafka
from fileflux.events.kafka.connection import KafkaSecurity

__all__ = ["KafkaBroker", "KafkaSecurity", "open_kafka"]
