"""For every alert: series that make it fire, and series of a well system that do not.

Values are promtool's: `0+5x60` is 0, 5, 10 … for 60 steps. A step is `step` minutes; the alert is
looked at after `steps` of them.
"""

from dataclasses import dataclass
from typing import Final

from tools.monitoring.alerts import ALWAYS

Series = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Case:
    firing: Series
    quiet: Series
    steps: int = 90
    step: int = 1


def gauge(selector: str, bad: str, good: str) -> Case:
    """A value that is bad for an hour and a half, against one that is good."""
    return Case(((selector, f"{bad}x90"),), ((selector, f"{good}x90"),))


def counter(selector: str, each_minute: float, quiet: float = 0) -> Case:
    return Case(((selector, f"0+{each_minute}x90"),), ((selector, f"0+{quiet}x90"),))


def burn(bad: tuple[str, str], good: tuple[str, str], *, all_bad: str, fast: bool) -> Case:
    """`all_bad`: how the bad ones grow in 5 minutes in which 1,000 requests are answered."""
    steps, step = (100, 5) if fast else (900, 5)
    total = f"0+1000x{steps}"
    return Case(
        ((bad[0], f"0+{all_bad}x{steps}"), (good[0], total)),
        ((bad[0], f"0+{bad[1]}x{steps}"), (good[0], total)),
        steps,
        step,
    )


ERRORS: Final = ('fileflux_s3_requests_total{operation="PutObject",status="5xx"}', "0")
ANSWERS: Final = ('fileflux_s3_requests_total{operation="PutObject",status="2xx"}', "1000")
READS: Final = 'fileflux_s3_request_seconds_count{operation="GetObject"}'
READS_IN_TIME: Final = 'fileflux_s3_request_seconds_bucket{operation="GetObject",le="0.5"}'
SETTLED: Final = 'fileflux_settle_seconds_count{size_class="small"}'
SETTLED_IN_TIME: Final = 'fileflux_settle_seconds_bucket{size_class="small",le="1.0"}'


def slow(in_time: str, total: str, *, fast: bool, share: str) -> Case:
    """`share`: of 1,000 in 5 minutes, those that are in time."""
    steps = 100 if fast else 900
    everything = (total, f"0+1000x{steps}")
    return Case(
        ((in_time, f"0+{share}x{steps}"), everything),
        ((in_time, f"0+999x{steps}"), everything),
        steps,
        5,
    )


ALL_UP: Final[Series] = tuple((f'up{{job="{job}",instance="a"}}', "1x90") for job in ALWAYS)

CASES: Final[dict[str, Case]] = {
    "FileFluxAvailabilityBurnsFast": burn(ERRORS, ANSWERS, all_bad="30", fast=True),
    "FileFluxAvailabilityBurnsSlow": burn(ERRORS, ANSWERS, all_bad="4", fast=False),
    "FileFluxReadLatencyBurnsFast": slow(READS_IN_TIME, READS, fast=True, share="800"),
    "FileFluxReadLatencyBurnsSlow": slow(READS_IN_TIME, READS, fast=False, share="960"),
    "FileFluxSettleLatencyBurnsFast": slow(SETTLED_IN_TIME, SETTLED, fast=True, share="800"),
    "FileFluxSettleLatencyBurnsSlow": slow(SETTLED_IN_TIME, SETTLED, fast=False, share="960"),
    "FileFluxServiceDown": gauge('up{job="ingest",instance="a"}', "0", "1"),
    "FileFluxServiceMissing": Case(ALL_UP[1:], ALL_UP),
    "FileFluxLoopBlocked": gauge('fileflux_loop_lag_seconds{job="ingest"}', "2", "0.01"),
    "FileFluxTracesLost": counter('fileflux_trace_spans_total{outcome="lost"}', 5),
    "FileFluxCanaryFailing": gauge('fileflux_canary_ok{job="ingest"}', "0", "1"),
    "FileFluxUploadsAborted": counter("fileflux_seals_aborted_total", 1),
    "FileFluxUploadsRefused": counter('fileflux_slow_downs_total{reason="memory"}', 120, 6),
    "FileFluxStagingFull": gauge("fileflux_staged_bytes", "2000000000", "100000000"),
    "FileFluxBrokerGone": counter('fileflux_broker_reconnects_total{kind="publisher"}', 2),
    "FileFluxConsumerBehind": Case(
        (('fileflux_consumer_lag_records{topic="t",partition="0"}', "0+100x90"),),
        # Far behind, and catching up.
        (('fileflux_consumer_lag_records{topic="t",partition="0"}', "90000-100x90"),),
    ),
    "FileFluxDeadLetters": counter('fileflux_dead_letters_total{topic="t"}', 1),
    "FileFluxDatabaseGone": counter('fileflux_database_retries_total{sqlstate="lost"}', 60, 1),
    "FileFluxDatabaseContended": Case(
        (
            ('fileflux_database_retries_total{sqlstate="40001"}', "0+50x90"),
            ("fileflux_database_transactions_total", "0+100x90"),
        ),
        (
            ('fileflux_database_retries_total{sqlstate="40001"}', "0+5x90"),
            ("fileflux_database_transactions_total", "0+100x90"),
        ),
    ),
    "FileFluxSequencerBehind": gauge("fileflux_audit_pending_blocks", "5000", "10"),
    "FileFluxAuditStuck": gauge("fileflux_audit_stuck_position", "17", "0"),
    "FileFluxLanesContested": counter("fileflux_lanes_lost_total", 5, 0.1),
    "FileFluxClassDown": gauge("fileflux_placement_classes_down", "1", "0"),
    "FileFluxNodeLost": gauge('fileflux_placement_nodes{state="lost"}', "1", "0"),
    "FileFluxNodeFenced": gauge("fileflux_node_fenced", "1", "0"),
    "FileFluxNodeFull": gauge('zfs_pool_capacity_percent{pool="p"}', "95", "70"),
    "FileFluxPoolFilling": gauge('zfs_pool_capacity_percent{pool="p"}', "85", "70"),
    "FileFluxPoolUnhealthy": gauge('zfs_pool_health_status{pool="p"}', "1", "0"),
    "FileFluxPoolFragmented": gauge('zfs_pool_fragmentation_percent{pool="p"}', "70", "20"),
    # promtool's time begins in 1970: a scrub 100 days before it.
    "FileFluxScrubOverdue": gauge('zfs_pool_scrub_timestamp_seconds{pool="p"}', "-8640000", "0"),
    "FileFluxDiskErrors": Case(
        (
            ('zfs_pool_read_errors{pool="p"}', "0+1x90"),
            ('zfs_pool_write_errors{pool="p"}', "0x90"),
            ('zfs_pool_checksum_errors{pool="p"}', "0x90"),
        ),
        (
            ('zfs_pool_read_errors{pool="p"}', "7x90"),
            ('zfs_pool_write_errors{pool="p"}', "0x90"),
            ('zfs_pool_checksum_errors{pool="p"}', "0x90"),
        ),
    ),
    "FileFluxPullsFailing": counter('fileflux_node_pulls_failed_total{reason="gone"}', 60, 1),
    "FileFluxReplicasFailing": counter('fileflux_replicas_failed_total{reason="Corrupt"}', 60, 1),
    "FileFluxWebhooksBehind": gauge("fileflux_webhook_waiting", "9000", "20"),
    "FileFluxWebhooksGivenUp": counter("fileflux_webhook_dead_total", 1),
    "FileFluxRoutesBehind": gauge('fileflux_route_lag_records{route="r"}', "5000", "3"),
    "FileFluxKafkaUnderReplicated": gauge(
        "kafka_server_replicamanager_underreplicatedpartitions", "3", "0"
    ),
    "FileFluxKafkaOffline": gauge(
        "kafka_controller_kafkacontroller_offlinepartitionscount", "1", "0"
    ),
    "FileFluxCockroachNodeDown": gauge('up{job="cockroachdb",instance="a"}', "0", "1"),
    "FileFluxCockroachUnavailable": gauge("ranges_unavailable", "2", "0"),
}
