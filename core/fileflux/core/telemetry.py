"""Logs and metrics: how they are set up, and every metric name of the project.

Logs carry fields, never keys, signatures or object bytes. `ERROR` means that a human must act.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from fileflux.core.tracing import current

_SECRET_FIELDS: Final = frozenset(
    {"authorization", "signature", "secret", "secret_key", "password", "token", "x-amz-signature"}
)


def configure_logging(*, level: str = "INFO", log_format: str = "auto") -> None:
    """Send structlog and the standard library's loggers to standard error, one line an entry."""
    plain = log_format == "plain" or (log_format == "auto" and sys.stderr.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if plain
        else structlog.processors.JSONRenderer()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Each failed attempt of its retries is an ERROR to aiokafka; our adapter says what it means.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for noisy in ("faust", "mode", "uvicorn.access", "botocore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _add_trace(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The innermost span, where one is recorded; otherwise what `note_request` was told."""
    context = current()
    if context is not None:
        entry["trace_id"], entry["span_id"] = context.trace_id, context.span_id
    return entry


def note_request(request_id: str, trace_id: str = "") -> None:
    """Put these ids into every entry of this task, and of those that it begins.

    What works for several requests at once was begun by one of them, and carries that one's ids.
    """
    structlog.contextvars.clear_contextvars()
    ids = {"request_id": request_id, "trace_id": trace_id}
    structlog.contextvars.bind_contextvars(**{name: one for name, one in ids.items() if one})


def _redact(
    _logger: Any, _method: str, entry: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name in _SECRET_FIELDS.intersection(entry):
        entry[name] = "redacted"
    return entry


def get_logger(name: str) -> Any:
    """Return the module's structlog logger: `log.info("repair finished", node_id=…)`."""
    return structlog.stdlib.get_logger(name)


LATENCY_BUCKETS_S: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip

# --- ingest -----------------------------------------------------------------------------------
# Requests by the four counters that the original system had; kept by name for its dashboards.
GET_REQUESTS = Counter("get_requests", "GET requests for objects.")
PUT_REQUESTS = Counter("put_requests", "PUT requests for objects.")
HEAD_REQUESTS = Counter("head_requests", "HEAD requests for objects.")
DELETE_REQUESTS = Counter("delete_requests", "DELETE requests for objects.")
# Every S3 operation by its name and the class of its answer.
S3_REQUESTS = Counter("fileflux_s3_requests", "S3 requests.", ["operation", "status"])
S3_LATENCY = Histogram(
    "fileflux_s3_request_seconds",
    "Time to the last byte.",
    ["operation"],
    buckets=LATENCY_BUCKETS_S,
)
S3_BYTES_IN = Counter("fileflux_s3_received_bytes", "Bytes of bodies received.")
S3_BYTES_OUT = Counter("fileflux_s3_sent_bytes", "Bytes of bodies sent.")
# Uploads that a flush of small ones completed together.
FLUSH_UPLOADS = Histogram(
    "fileflux_flush_uploads", "Uploads per small flush.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
# From the emission of a seal to its settlement.
SETTLE_SECONDS = Histogram(
    "fileflux_settle_seconds", "Emission to settlement.", ["size_class"], buckets=LATENCY_BUCKETS_S
)
# Silence: seals and bundles asked for in the database, and what was emitted again after it.
SEALS_ASKED = Counter("fileflux_seals_asked", "Questions after a silence.")
SEALS_EMITTED_AGAIN = Counter("fileflux_seals_emitted_again", "Seals published again.")
BUNDLES_ASSIGNED_AGAIN = Counter("fileflux_bundles_assigned_again", "Bundles assigned again.")
# Given up after 30 s or for want of nodes. More than none is an incident.
SEALS_ABORTED = Counter("fileflux_seals_aborted", "Seals that ingest aborted.")
# Bytes of bundles that wait for nodes, in this worker.
STAGED_BYTES = Gauge("fileflux_staged_bytes", "Staged bytes of this worker.")
# Uploads refused before their body was read, event streams and searches, by why.
SLOW_DOWNS = Counter("fileflux_slow_downs", "Requests refused by admission.", ["reason"])
# Clients that follow the audit stream by server-sent events.
EVENT_STREAMS = Gauge("fileflux_event_streams", "Open event streams of this worker.")
# Reads: chunks served from memory, second replicas asked because the first was slow, replicas that
# failed or were corrupt.
CACHE_HITS = Counter("fileflux_chunk_cache_hits", "Chunks served from memory.")
CACHE_MISSES = Counter("fileflux_chunk_cache_misses", "Small chunks fetched from a node.")
READS_HEDGED = Counter("fileflux_reads_hedged", "Second replicas asked for slowness.")
REPLICAS_FAILED = Counter("fileflux_replicas_failed", "Reads that a replica failed.", ["reason"])
# How long the loop was late: blocking calls show here before they hurt.
LOOP_LAG = Gauge("fileflux_loop_lag_seconds", "How late the event loop woke up.")

# --- every service ----------------------------------------------------------------------------
# Spans of traces: recorded, exported, lost because the collector did not take them. Recorded and
# neither of the others: they wait, or the SDK's queue was full.
TRACE_SPANS = Counter("fileflux_trace_spans", "Spans by what became of them.", ["outcome"])

# --- events -----------------------------------------------------------------------------------
# Records through this process; a record holds the events of one flush.
EVENTS = Counter("fileflux_events", "Records published and read.", ["topic", "direction"])
# How far behind the newest record this process is. Growing for minutes: a consumer is too slow.
CONSUMER_LAG = Gauge(
    "fileflux_consumer_lag_records", "Records not yet read.", ["topic", "partition"]
)
# Records that could not be decoded or applied. More than none needs a person.
DEAD_LETTERS = Counter("fileflux_dead_letters", "Records set aside.", ["topic"])
# Publishers and sources made anew because the broker, or the client, stopped answering.
BROKER_RECONNECTS = Counter("fileflux_broker_reconnects", "Clients made anew.", ["kind"])

# --- storage node -----------------------------------------------------------------------------
# Assignments by what came of them: committed, held (confirmed again), expired, or the reason of a
# refusal (full, fenced, gone, corrupt).
NODE_ASSIGNMENTS = Counter("fileflux_node_assignments", "Assignments dealt with.", ["outcome"])
# One sync serves every bundle that waited: bundles per append, and how long the disk took.
NODE_APPEND_BUNDLES = Histogram(
    "fileflux_node_append_bundles", "Bundles per sync.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
NODE_SYNC_SECONDS = Histogram(
    "fileflux_node_sync_seconds", "Time of an fdatasync.", buckets=LATENCY_BUCKETS_S
)
NODE_APPENDED_BYTES = Counter("fileflux_node_appended_bytes", "Bytes of bundles made durable.")
# From reading an assignment to the bundle being durable.
NODE_COMMIT_SECONDS = Histogram(
    "fileflux_node_commit_seconds", "Assignment to durable.", buckets=LATENCY_BUCKETS_S
)
# Pulls that a source failed, by why; the next source was asked.
NODE_PULLS_FAILED = Counter("fileflux_node_pulls_failed", "Pulls that failed.", ["reason"])
# Answers that the broker did not take; whoever waits asks again.
NODE_ANSWERS_LOST = Counter("fileflux_node_answers_lost", "Answers not published.")
# 1 while the node writes nothing, because it does not trust its disk or its epoch.
NODE_FENCED = Gauge("fileflux_node_fenced", "Whether the node is fenced.")
# Bytes that the node sent to readers and to its peers.
NODE_SENT_BYTES = Counter("fileflux_node_sent_bytes", "Bytes of bundles sent.")

# --- placement --------------------------------------------------------------------------------
# Nodes as the leader sees them: alive, suspect, lost, draining, removed.
PLACEMENT_NODES = Gauge("fileflux_placement_nodes", "Nodes by state.", ["state"])
# The epoch of the map last published (placement) or last read (ingest).
PLACEMENT_EPOCH = Gauge("fileflux_placement_epoch", "Epoch of the placement map.")
# Heartbeats taken in, and those that could not be read.
HEARTBEATS = Counter("fileflux_heartbeats", "Heartbeats taken in.", ["outcome"])
# Classes for which fewer than W nodes can be used: uploads to them answer 503.
PLACEMENT_CLASSES_DOWN = Gauge(
    "fileflux_placement_classes_down", "Storage classes without a quorum of usable nodes."
)

# --- metadata ---------------------------------------------------------------------------------
# Transactions that committed; those run again, by SQLSTATE (`lost`: the connection); commits whose
# answer got lost. Retries above a tenth of the transactions: writers meet on the same rows.
DATABASE_TRANSACTIONS = Counter("fileflux_database_transactions", "Transactions committed.")
DATABASE_RETRIES = Counter("fileflux_database_retries", "Attempts run again.", ["sqlstate"])
DATABASE_AMBIGUOUS = Counter("fileflux_database_ambiguous", "Commits without an answer.")
# What came of seals: applied, stored (settled before), expired, dead, failed.
SEALS_SETTLED = Counter("fileflux_seals_settled", "Seals settled.", ["outcome"])
SEALS_PENDING = Gauge("fileflux_seals_pending", "Seals that wait for enough nodes.")
# From reading what made a seal complete to its commit.
SEALING_SECONDS = Histogram(
    "fileflux_sealing_seconds", "Time of a sealing transaction.", buckets=LATENCY_BUCKETS_S
)
# Lanes that this materializer applies; those lost to another one since the start.
LANES_OWNED = Gauge("fileflux_lanes_owned", "Lanes applied by this process.")
LANES_LOST = Counter("fileflux_lanes_lost", "Lanes found moved by another owner.")
# Audit records numbered, published, published again; blocks that wait for a number.
AUDIT_NUMBERED = Counter("fileflux_audit_numbered", "Audit records numbered.")
AUDIT_PUBLISHED = Counter("fileflux_audit_published", "Audit records published.")
AUDIT_REWINDS = Counter("fileflux_audit_rewinds", "Times the topic was behind the head.")
AUDIT_PENDING = Gauge("fileflux_audit_pending_blocks", "Blocks that wait for the sequencer.")
# Where publishing waits for a person: the position can be had from nobody, or only changed.
AUDIT_STUCK = Gauge("fileflux_audit_stuck_position", "Position that cannot be published; 0: none.")
# Checkpoints signed by this process, and the position of its last one.
AUDIT_CHECKPOINTS = Counter("fileflux_audit_checkpoints", "Checkpoints signed.")
AUDIT_SIGNED_POSITION = Gauge("fileflux_audit_signed_position", "Position of the last checkpoint.")
# Ranges of the audit stream that went to the archive, and what left the database thereafter.
AUDIT_ARCHIVED_POSITION = Gauge("fileflux_audit_archived_position", "Last position archived.")
AUDIT_KEPT_FROM = Gauge("fileflux_audit_kept_from", "First position that the database has.")
ARCHIVE_SEGMENTS = Counter("fileflux_archive_segments", "Segments written to the archive.")
# Holds keep audit records in the database, and bytes that nobody references (`fileflux hold list`).
HISTORY_HOLDS = Gauge("fileflux_history_holds", "Holds that have not run out.")
# Whether the last PUT, GET and DELETE through the whole pipeline came back, and how long it took.
CANARY_OK = Gauge("fileflux_canary_ok", "1 when the last canary came back.")
CANARY_SECONDS = Gauge("fileflux_canary_seconds", "Time of the last canary that came back.")

# --- webhooks ---------------------------------------------------------------------------------
# Attempts by what came of them: delivered, failed, gone (410); how long each took.
WEBHOOK_ATTEMPTS = Counter("fileflux_webhook_attempts", "Attempts to deliver.", ["outcome"])
WEBHOOK_SECONDS = Histogram(
    "fileflux_webhook_seconds", "Time of an attempt.", buckets=LATENCY_BUCKETS_S
)
# Deliveries that wait, of all subscriptions; subscriptions with something on its way or put off.
WEBHOOK_WAITING = Gauge("fileflux_webhook_waiting", "Deliveries in the queues.")
WEBHOOK_QUEUES = Gauge("fileflux_webhook_queues", "Subscriptions that are being sent to.")
# Deliveries given up after days: `fileflux webhook redrive` sends them again.
WEBHOOK_DEAD = Counter("fileflux_webhook_dead", "Deliveries that were given up.")
# The last audit position that was looked at; behind `fileflux audit tail`: the reader is late.
WEBHOOK_POSITION = Gauge("fileflux_webhook_position", "Last audit position read.")

# --- routes -----------------------------------------------------------------------------------
# Records of the audit stream between a route and the end of the stream: how late it is.
ROUTE_LAG = Gauge("fileflux_route_lag_records", "Audit records not looked at.", ["route"])
# Messages that a destination acknowledged; attempts after which some were left.
ROUTE_SENT = Counter("fileflux_route_sent", "Messages acknowledged.", ["route"])
ROUTE_FAILED = Counter("fileflux_route_failed", "Attempts that left something.", ["route"])
