"""Database, audit stream, deliveries."""

from typing import Final

from tools.monitoring.panel import Dashboard, Panel, Query, Row
from tools.monitoring.panels import plain, rate

METADATA: Final = Dashboard(
    "fileflux-metadata",
    "FileFlux: database, audit stream, deliveries",
    "Transactions, the audit stream and what follows it.",
    (
        Row(
            "Database",
            (
                plain(
                    "Transactions",
                    "That committed.",
                    "ops",
                    "sum by (job) (rate(fileflux_database_transactions_total[5m]))",
                    "{{job}}",
                ),
                rate(
                    "Run again",
                    "By SQLSTATE; `lost` is the connection.",
                    "ops",
                    "fileflux_database_retries_total",
                    "sqlstate",
                ),
                Panel(
                    "CockroachDB",
                    "Ranges without all of their replicas, and without a quorum.",
                    "short",
                    (
                        Query("sum(ranges_underreplicated)", "too few replicas"),
                        Query("sum(ranges_unavailable)", "no quorum"),
                    ),
                ),
            ),
        ),
        Row(
            "Audit stream",
            (
                plain(
                    "Waiting blocks",
                    "Stored with their transaction, not yet numbered.",
                    "short",
                    "max(fileflux_audit_pending_blocks)",
                    "blocks",
                ),
                Panel(
                    "Records",
                    "Numbered and published.",
                    "ops",
                    (
                        Query("sum(rate(fileflux_audit_numbered_total[5m]))", "numbered"),
                        Query("sum(rate(fileflux_audit_published_total[5m]))", "published"),
                    ),
                ),
                Panel(
                    "Positions",
                    "Signed, archived, kept in the database from.",
                    "short",
                    (
                        Query("max(fileflux_audit_signed_position)", "signed"),
                        Query("max(fileflux_audit_archived_position)", "archived"),
                        Query("max(fileflux_audit_kept_from)", "kept from"),
                    ),
                ),
            ),
        ),
        Row(
            "Deliveries",
            (
                rate(
                    "Webhooks",
                    "Attempts by what came of them.",
                    "ops",
                    "fileflux_webhook_attempts_total",
                    "outcome",
                ),
                plain(
                    "Waiting deliveries",
                    "Of all webhooks.",
                    "short",
                    "max(fileflux_webhook_waiting)",
                    "deliveries",
                ),
                plain(
                    "Routes",
                    "Audit records not looked at, by route.",
                    "short",
                    "max by (route) (fileflux_route_lag_records)",
                    "{{route}}",
                ),
            ),
        ),
    ),
)
