"""Nodes and their pools."""

from typing import Final

from tools.monitoring.panel import Dashboard, Panel, Query, Row
from tools.monitoring.panels import plain, rate

POOLS: Final = Dashboard(
    "fileflux-pools",
    "FileFlux: nodes and pools",
    "ZFS pools as their nodes see them, and what the nodes do.",
    (
        Row(
            "Pools",
            (
                plain(
                    "Size", "Of each pool.", "bytes", "zfs_pool_size_bytes", "{{instance}} {{pool}}"
                ),
                plain(
                    "Free", "Of each pool.", "bytes", "zfs_pool_free_bytes", "{{instance}} {{pool}}"
                ),
                plain(
                    "Used",
                    "ZFS becomes slow above 80 %.",
                    "percent",
                    "zfs_pool_capacity_percent",
                    "{{instance}} {{pool}}",
                ),
                Panel(
                    "Health",
                    "0 ONLINE, 1 DEGRADED, 2 FAULTED, 3 OFFLINE, 4 UNAVAIL, 6 SUSPENDED.",
                    "none",
                    (Query("zfs_pool_health_status", "{{instance}} {{pool}}"),),
                    "stat",
                ),
                plain(
                    "Fragmentation",
                    "Of the free space.",
                    "percent",
                    "zfs_pool_fragmentation_percent",
                    "{{instance}} {{pool}}",
                ),
                plain(
                    "Since the last scrub",
                    "Once a month is enough; missing: never.",
                    "s",
                    "time() - zfs_pool_scrub_timestamp_seconds",
                    "{{instance}} {{pool}}",
                ),
                Panel(
                    "Errors of disks",
                    "Since the last clear: reads, writes, checksums.",
                    "short",
                    (
                        Query("sum by (instance) (zfs_pool_read_errors)", "{{instance}} read"),
                        Query("sum by (instance) (zfs_pool_write_errors)", "{{instance}} write"),
                        Query("sum by (instance) (zfs_pool_checksum_errors)", "{{instance}} sum"),
                    ),
                ),
                plain(
                    "File systems",
                    "What each has left.",
                    "bytes",
                    "zfs_filesystem_available_bytes",
                    "{{instance}} {{filesystem}}",
                ),
            ),
        ),
        Row(
            "Nodes",
            (
                plain(
                    "By state",
                    "As placement's leader sees them.",
                    "short",
                    "max by (state) (fileflux_placement_nodes)",
                    "{{state}}",
                ),
                rate(
                    "Assignments",
                    "By what came of them.",
                    "ops",
                    "fileflux_node_assignments_total",
                    "outcome",
                ),
                plain(
                    "Written",
                    "Bytes of bundles made durable.",
                    "Bps",
                    "sum by (instance) (rate(fileflux_node_appended_bytes_total[5m]))",
                    "{{instance}}",
                ),
                plain(
                    "Sent",
                    "To readers and peers.",
                    "Bps",
                    "sum by (instance) (rate(fileflux_node_sent_bytes_total[5m]))",
                    "{{instance}}",
                ),
                rate(
                    "Pulls that failed",
                    "By why; another source was asked.",
                    "ops",
                    "fileflux_node_pulls_failed_total",
                    "reason",
                ),
                plain(
                    "Fenced",
                    "1: it writes nothing.",
                    "none",
                    "fileflux_node_fenced",
                    "{{instance}}",
                ),
            ),
        ),
    ),
)
