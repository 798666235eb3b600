"""What clients ask for."""

from typing import Final

from tools.monitoring.panel import Dashboard, Panel, Query, Row
from tools.monitoring.panels import quantiles, rate

ORIGINAL: Final = ("get", "put", "head", "delete")
"""The four counters that the system before this one had."""

S3: Final = Dashboard(
    "fileflux-s3",
    "FileFlux: S3 operations",
    "What clients ask for, how fast they are answered, what is refused.",
    (
        Row(
            "Requests",
            (
                Panel(
                    "Objects asked for",
                    "The four counters of the original system, for those who knew it.",
                    "reqps",
                    tuple(
                        Query(f"sum(rate({verb}_requests_total[5m]))", verb.upper())
                        for verb in ORIGINAL
                    ),
                ),
                rate(
                    "Requests by operation",
                    "Every S3 operation by its name.",
                    "reqps",
                    "fileflux_s3_requests_total",
                    "operation",
                ),
                rate(
                    "Answers by class",
                    "5xx are ours, 4xx are the client's.",
                    "reqps",
                    "fileflux_s3_requests_total",
                    "status",
                ),
            ),
        ),
        Row(
            "Latency",
            (
                quantiles(
                    "Reads",
                    "GetObject to its last byte.",
                    "fileflux_s3_request_seconds",
                    '{operation="GetObject"}',
                ),
                quantiles(
                    "Writes",
                    "PutObject, until it is durable on W nodes and visible.",
                    "fileflux_s3_request_seconds",
                    '{operation="PutObject"}',
                ),
                quantiles(
                    "Metadata",
                    "HeadObject, DeleteObject, ListObjectsV2.",
                    "fileflux_s3_request_seconds",
                    '{operation=~"HeadObject|DeleteObject|ListObjectsV2"}',
                    "operation",
                ),
            ),
        ),
        Row(
            "Bytes and refusals",
            (
                Panel(
                    "Bytes",
                    "Bodies in both directions.",
                    "Bps",
                    (
                        Query("sum(rate(fileflux_s3_received_bytes_total[5m]))", "received"),
                        Query("sum(rate(fileflux_s3_sent_bytes_total[5m]))", "sent"),
                    ),
                ),
                rate(
                    "SlowDown",
                    "Refused before the body was read, by what was short.",
                    "reqps",
                    "fileflux_slow_downs_total",
                    "reason",
                ),
                Panel(
                    "Chunks from memory",
                    "Share of small chunks that no node was asked for.",
                    "percentunit",
                    (
                        Query(
                            "sum(rate(fileflux_chunk_cache_hits_total[5m])) / "
                            "(sum(rate(fileflux_chunk_cache_hits_total[5m])) + "
                            "sum(rate(fileflux_chunk_cache_misses_total[5m])))",
                            "hits",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
