"""From a flush to a settled upload."""

from typing import Final

from tools.monitoring.panel import Dashboard, Panel, Query, Row
from tools.monitoring.panels import plain, quantiles, rate

PIPELINE: Final = Dashboard(
    "fileflux-pipeline",
    "FileFlux: the pipeline",
    "From a flush to a settled upload: each hop, and who is late.",
    (
        Row(
            "Hops",
            (
                quantiles(
                    "Emission to settlement",
                    "The whole way of a seal, as ingest sees it.",
                    "fileflux_settle_seconds",
                    by="size_class",
                ),
                quantiles(
                    "Assignment to durable",
                    "A storage node: read, pulled, synced.",
                    "fileflux_node_commit_seconds",
                ),
                quantiles(
                    "Disk",
                    "An fdatasync, which serves all that waited.",
                    "fileflux_node_sync_seconds",
                ),
                quantiles(
                    "Sealing transaction",
                    "A materializer: from a complete seal to its commit.",
                    "fileflux_sealing_seconds",
                ),
                Panel(
                    "Canary",
                    "The last PUT, GET and DELETE through all of it, by worker.",
                    "s",
                    (Query('fileflux_canary_seconds{job="ingest"}', "{{instance}}"),),
                ),
                Panel(
                    "Uploads of a flush",
                    "How many small uploads share one bundle, on average.",
                    "short",
                    (
                        Query(
                            "sum(rate(fileflux_flush_uploads_sum[5m])) / "
                            "sum(rate(fileflux_flush_uploads_count[5m]))",
                            "uploads",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            "Topics",
            (
                plain(
                    "Lag",
                    "Records not yet read, of the reader that is furthest behind.",
                    "short",
                    "max by (job, topic) (fileflux_consumer_lag_records)",
                    "{{job}} {{topic}}",
                ),
                rate(
                    "Records",
                    "Published and read; a record holds the events of one flush.",
                    "ops",
                    "fileflux_events_total",
                    "topic",
                    "direction",
                ),
                plain(
                    "Set aside and lost connections",
                    "Dead letters of an hour, clients made anew.",
                    "short",
                    "sum by (topic) (increase(fileflux_dead_letters_total[1h]))",
                    "{{topic}}",
                ),
            ),
        ),
        Row(
            "Waiting",
            (
                plain(
                    "Staged bytes",
                    "Bundles that wait for nodes.",
                    "bytes",
                    "sum by (instance) (fileflux_staged_bytes)",
                    "{{instance}}",
                ),
                plain(
                    "Seals that wait",
                    "For enough nodes, in the materializers.",
                    "short",
                    "sum by (instance) (fileflux_seals_pending)",
                    "{{instance}}",
                ),
                Panel(
                    "Asked, again, given up",
                    "What ingest did after a silence.",
                    "ops",
                    (
                        Query("sum(rate(fileflux_seals_asked_total[5m]))", "asked"),
                        Query("sum(rate(fileflux_seals_emitted_again_total[5m]))", "emitted again"),
                        Query(
                            "sum(rate(fileflux_bundles_assigned_again_total[5m]))", "assigned again"
                        ),
                        Query("sum(rate(fileflux_seals_aborted_total[5m]))", "given up"),
                    ),
                ),
            ),
        ),
    ),
)
