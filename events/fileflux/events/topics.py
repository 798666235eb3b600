"""The topic registry: every topic, who writes and reads it, and how it must be set.

Partitions are routing hints. Their numbers are part of a cluster's identity: an existing topic with
another number is refused, since lanes and slots are computed from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from fileflux.core.model import MIB

BUNDLES_ASSIGNED: Final = "fileflux.bundles.assigned"
UPLOADS_SEALED: Final = "fileflux.uploads.sealed"
BUNDLES_COMMITTED: Final = "fileflux.bundles.committed"
UPLOADS_COMPLETED: Final = "fileflux.uploads.completed"
NODES_HEARTBEATS: Final = "fileflux.nodes.heartbeats"
PLACEMENT_MAP: Final = "fileflux.placement.map"
AUDIT: Final = "fileflux.audit"
AUDIT_CHECKPOINTS: Final = "fileflux.audit.checkpoints"
ACCESS: Final = "fileflux.access"

_HOUR_MS: Final = 3_600_000
PIPELINE_RETENTION_MS: Final = 24 * _HOUR_MS
"""Longer than any seal may live; the database, not the topic, is the truth."""
MAP_RETENTION_MS: Final = 30 * 24 * _HOUR_MS
"""So that "why is it there" has an answer: every epoch of the map is kept."""
ACCESS_RETENTION_MS: Final = 30 * 24 * _HOUR_MS
DEAD_LETTER_RETENTION_MS: Final = 30 * 24 * _HOUR_MS
FOREVER_MS: Final = -1
AUDIT_RECORD_BYTES_MAX: Final = 16 * MIB
"""Aborting an upload of 10,000 parts is one record that names each."""
REPLICATION_FACTOR_MAX: Final = 3

OUR_PREFIXES: Final = ("fileflux_", "fileflux-", "__")
"""Nobody else's events go to topics with such names: ours, Faust's for placement, Kafka's own. In
small letters, `.` as `_`: Kafka refuses a second topic whose name differs in that only.
"""

Partitioning = Literal["slots", "lanes", "one"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """A topic as it must be. `key`: what a record's key says; routing never depends on it, and a
    record that holds the events of a whole flush has none.

    `durable`: acknowledged records survive a power cut (acks=all, flushed when one broker has to
    keep them alone); otherwise whoever waits sends again.
    """

    name: str
    partitioned_by: Partitioning
    key: str
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    holds: str
    retention_ms: int = PIPELINE_RETENTION_MS
    durable: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)

    def partition_count(self, *, lanes: int, slots: int) -> int:
        return {"slots": slots, "lanes": lanes, "one": 1}[self.partitioned_by]

    def required_settings(self, *, brokers: int) -> dict[str, str]:
        """Return what the topic is created with and later checked for, by Kafka's names."""
        required = {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "retention.bytes": "-1",
            **self.settings,
        }
        if self.durable and brokers == 1:
            # One broker with its default flush loses acknowledged records in a power cut.
            required["flush.messages"] = "1"
        if self.durable and brokers >= REPLICATION_FACTOR_MAX:
            required["min.insync.replicas"] = "2"
        if self.durable:
            required["unclean.leader.election.enable"] = "false"
        return required


PIPELINE_TOPICS: Final = (
    Topic(
        name=BUNDLES_ASSIGNED,
        partitioned_by="slots",
        key="none",
        writers=("ingest",),
        readers=("storage_node",),
        holds="BundleAssigned",
    ),
    Topic(
        name=UPLOADS_SEALED,
        partitioned_by="lanes",
        key="none",
        writers=("ingest",),
        readers=("metadata materializer",),
        holds="UploadsSealed",
    ),
    Topic(
        name=BUNDLES_COMMITTED,
        partitioned_by="lanes",
        key="none",
        writers=("storage_node",),
        readers=("metadata materializer", "ingest"),
        holds="BundleCommitted, BundleRefused",
    ),
    Topic(
        name=UPLOADS_COMPLETED,
        partitioned_by="lanes",
        key="none",
        writers=("metadata materializer",),
        readers=("ingest",),
        holds="UploadsCompleted",
    ),
    Topic(
        name=NODES_HEARTBEATS,
        partitioned_by="one",
        key="node id",
        writers=("storage_node", "placement"),
        readers=("placement", "console"),
        holds="NodeHeartbeat, StreamEchoed",
    ),
    Topic(
        name=PLACEMENT_MAP,
        partitioned_by="one",
        key="none",
        writers=("placement",),
        readers=("ingest", "console"),
        holds="PlacementDecided",
        retention_ms=MAP_RETENTION_MS,
        durable=True,
    ),
)

AUDIT_TOPIC: Final = Topic(
    name=AUDIT,
    partitioned_by="one",
    key="bucket id",
    writers=("metadata sequencer",),
    readers=("webhooks", "console", "operators"),
    holds="CloudEvents 1.0.2, Kafka binary binding, JSON data",
    retention_ms=FOREVER_MS,
    durable=True,
    settings={"max.message.bytes": str(AUDIT_RECORD_BYTES_MAX)},
)

ACCESS_TOPIC: Final = Topic(
    name=ACCESS,
    partitioned_by="lanes",
    key="bucket id",
    writers=("ingest",),
    readers=("operators",),
    holds="CloudEvents 1.0.2, Kafka binary binding, JSON data: reads and refused requests",
    retention_ms=ACCESS_RETENTION_MS,
    durable=True,
)


CHECKPOINTS_TOPIC: Final = Topic(
    name=AUDIT_CHECKPOINTS,
    partitioned_by="one",
    key="stream/number",
    writers=("metadata sequencer",),
    readers=("whoever verifies the audit stream",),
    holds="signed checkpoints, a JSON object each (docs/formats/archive.md)",
    retention_ms=FOREVER_MS,
    durable=True,
    settings={"cleanup.policy": "compact"},
)


def dead_letter_topic(name: str) -> str:
    """Return where records of this topic go that cannot be applied."""
    return f"{name}.dead-letter"


def _twin(topic: Topic) -> Topic:
    return Topic(
        name=dead_letter_topic(topic.name),
        partitioned_by="one",
        key="as in the topic",
        writers=topic.readers,
        readers=("console",),
        holds=f"records of `{topic.name}` that could not be applied, with the cause as headers",
        retention_ms=DEAD_LETTER_RETENTION_MS,
    )


def all_topics() -> tuple[Topic, ...]:
    """Return every topic of FileFlux: the pipeline's, the public streams, the dead letters."""
    twins = (_twin(topic) for topic in PIPELINE_TOPICS)
    return (*PIPELINE_TOPICS, AUDIT_TOPIC, CHECKPOINTS_TOPIC, ACCESS_TOPIC, *twins)


def is_ours(name: str) -> bool:
    """Tell whether a topic's name is one that FileFlux, Faust or Kafka itself may use."""
    return name.lower().replace(".", "_").startswith(OUR_PREFIXES)


def setting_problem(name: str, wanted: str, found: str | None) -> str | None:
    """Return one sentence when an existing topic's setting breaks a promise, else None.

    Keeping records longer than we ask for breaks none.
    """
    if found == wanted:
        return None
    if name == "retention.ms" and found is not None and _keeps_longer(found, wanted):
        return None
    if name in ("max.message.bytes", "min.insync.replicas") and found is not None:
        return None if int(found) >= int(wanted) else f"{name} is {found}, not {wanted}"
    return f"{name} is {found or 'unknown'}, not {wanted}"


def _keeps_longer(found: str, wanted: str) -> bool:
    return int(found) == FOREVER_MS or (FOREVER_MS != int(wanted) <= int(found))
