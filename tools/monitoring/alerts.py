"""Alerts on what the services say of themselves. Thresholds stand beside why."""

from typing import Final

from tools.monitoring.rule import Alert, Group

ALWAYS: Final = ("ingest", "placement", "materializer", "sequencer", "webhooks", "storage-node")
OURS: Final = "|".join((*ALWAYS, "archiver"))
"""Archiving may be the sequencer's."""

SERVICES: Final = Group(
    "fileflux-services",
    (
        Alert(
            "FileFluxServiceDown",
            f'up{{job=~"{OURS}"}} == 0',
            "3m",
            "page",
            "{{ $labels.job }} at {{ $labels.instance }} does not answer",
            "Prometheus could not scrape it for 3 minutes.",
        ),
        Alert(
            "FileFluxServiceMissing",
            # `absent` of each: a job that nobody runs has no `up` that could be 0.
            " or ".join(f'absent(up{{job="{job}"}})' for job in ALWAYS),
            "5m",
            "page",
            "Nobody runs {{ $labels.job }}",
            "Prometheus knows no target of the job: it was never started, or its monitor is gone.",
        ),
        Alert(
            "FileFluxLoopBlocked",
            "fileflux_loop_lag_seconds > 1",
            "2m",
            "ticket",
            "{{ $labels.job }} at {{ $labels.instance }} answers a second late",
            "Something blocks its event loop, or its processor is taken away.",
        ),
        Alert(
            "FileFluxTracesLost",
            'rate(fileflux_trace_spans_total{outcome="lost"}[10m]) > 0',
            "30m",
            "ticket",
            "{{ $labels.job }} loses traces",
            "The collector takes none. Requests are not affected.",
        ),
    ),
)

UPLOADS: Final = Group(
    "fileflux-uploads",
    (
        Alert(
            "FileFluxCanaryFailing",
            # 0 only after a worker's first canary was made; its gauge begins at 0 elsewhere too.
            'fileflux_canary_ok{job="ingest"} == 0',
            "3m",
            "page",
            "The canary of {{ $labels.instance }} does not come back",
            "A PUT, GET and DELETE through the whole pipeline fails: so do those of clients.",
        ),
        Alert(
            "FileFluxUploadsAborted",
            "increase(fileflux_seals_aborted_total[10m]) > 0",
            "0m",
            "ticket",
            "{{ $labels.instance }} gave uploads up",
            "No settlement in FILEFLUX_INGEST_SETTLE_TIMEOUT_S, or no nodes. Clients heard 503.",
        ),
        Alert(
            "FileFluxUploadsRefused",
            "sum by (reason) (rate(fileflux_slow_downs_total[5m])) > 1",
            "10m",
            "ticket",
            "Requests are refused for want of {{ $labels.reason }}",
            "Clients hear 503 SlowDown and come back later.",
        ),
        Alert(
            "FileFluxStagingFull",
            # 2 GiB are the default of FILEFLUX_INGEST_STAGING_BYTES.
            "fileflux_staged_bytes > 0.8 * 2147483648",
            "5m",
            "ticket",
            "Staging of {{ $labels.instance }} is nearly full",
            "The nodes take bundles more slowly than clients send them.",
        ),
    ),
)

PIPELINE: Final = Group(
    "fileflux-pipeline",
    (
        Alert(
            "FileFluxBrokerGone",
            "sum by (job, instance) (increase(fileflux_broker_reconnects_total[5m])) > 3",
            "5m",
            "page",
            "{{ $labels.job }} at {{ $labels.instance }} keeps losing Kafka",
            "Uploads hang, then fail with 503. Reads go on.",
        ),
        Alert(
            "FileFluxConsumerBehind",
            "fileflux_consumer_lag_records > 1000 and "
            "delta(fileflux_consumer_lag_records[10m]) > 0",
            "10m",
            "ticket",
            "{{ $labels.job }} falls behind on {{ $labels.topic }}",
            "It reads more slowly than is written: uploads settle late.",
        ),
        Alert(
            "FileFluxDeadLetters",
            "increase(fileflux_dead_letters_total[10m]) > 0",
            "0m",
            "ticket",
            "A record of {{ $labels.topic }} was set aside",
            "It could not be decoded or applied. A person has to look at it.",
        ),
        Alert(
            "FileFluxDatabaseGone",
            "sum by (job, instance) "
            '(rate(fileflux_database_retries_total{sqlstate="lost"}[5m])) > 0.1',
            "3m",
            "page",
            "{{ $labels.job }} at {{ $labels.instance }} keeps losing the database",
            "Everything answers 503.",
        ),
        Alert(
            "FileFluxDatabaseContended",
            'sum(rate(fileflux_database_retries_total{sqlstate!="lost"}[10m])) > '
            "0.2 * sum(rate(fileflux_database_transactions_total[10m]))",
            "15m",
            "ticket",
            "A fifth of the transactions run again",
            "They meet each other, or the database sheds load.",
        ),
        Alert(
            "FileFluxSequencerBehind",
            "max(fileflux_audit_pending_blocks) > 1000",
            "5m",
            "page",
            "{{ $value }} audit blocks wait for their number",
            "Objects are visible; the audit stream, webhooks, routes and usage are late.",
        ),
        Alert(
            "FileFluxAuditStuck",
            "max(fileflux_audit_stuck_position) > 0",
            "1m",
            "page",
            "Position {{ $value }} of the audit stream cannot be published",
            "Nothing is published behind it until somebody looks.",
        ),
        Alert(
            "FileFluxLanesContested",
            "sum by (instance) (increase(fileflux_lanes_lost_total[10m])) > 20",
            "10m",
            "ticket",
            "{{ $labels.instance }} keeps losing its lanes",
            "Materializers take lanes from each other: uploads settle late.",
        ),
    ),
)

STORAGE: Final = Group(
    "fileflux-storage",
    (
        Alert(
            "FileFluxClassDown",
            "max(fileflux_placement_classes_down) > 0",
            "1m",
            "page",
            "{{ $value }} storage classes have too few nodes",
            "Uploads to them are answered 503 at once.",
        ),
        Alert(
            "FileFluxNodeLost",
            'max(fileflux_placement_nodes{state="lost"}) > 0',
            "5m",
            "page",
            "{{ $value }} storage nodes are lost",
            "Their bundles have a replica less until they are back.",
        ),
        Alert(
            "FileFluxNodeFenced",
            "fileflux_node_fenced == 1",
            "1m",
            "page",
            "The storage node at {{ $labels.instance }} writes nothing",
            "It does not trust its disk, or its epoch.",
        ),
        Alert(
            "FileFluxNodeFull",
            "zfs_pool_capacity_percent > 90",
            "10m",
            "page",
            "Pool {{ $labels.pool }} at {{ $labels.instance }} is {{ $value }} % full",
            "Placement will give it nothing more when its reserve is reached.",
        ),
        Alert(
            "FileFluxPoolFilling",
            "zfs_pool_capacity_percent > 80",
            "30m",
            "ticket",
            "Pool {{ $labels.pool }} at {{ $labels.instance }} is {{ $value }} % full",
            "ZFS becomes slow from here on. Grow it.",
        ),
        Alert(
            "FileFluxPoolUnhealthy",
            "zfs_pool_health_status > 0",
            "1m",
            "page",
            "Pool {{ $labels.pool }} at {{ $labels.instance }} is not ONLINE",
            "1 DEGRADED, 2 FAULTED, 3 OFFLINE, 4 UNAVAIL, 5 REMOVED, 6 SUSPENDED: {{ $value }}.",
        ),
        Alert(
            "FileFluxPoolFragmented",
            "zfs_pool_fragmentation_percent > 60",
            "1h",
            "ticket",
            "The free space of pool {{ $labels.pool }} is fragmented",
            "Writes become slow. More free space mends it.",
        ),
        Alert(
            "FileFluxScrubOverdue",
            "time() - zfs_pool_scrub_timestamp_seconds > 45 * 86400",
            "1h",
            "ticket",
            "Pool {{ $labels.pool }} at {{ $labels.instance }} was not scrubbed for 45 days",
            "A scrub a month finds blocks that went bad while another copy is whole.",
        ),
        Alert(
            "FileFluxDiskErrors",
            "increase(zfs_pool_read_errors[1h]) + increase(zfs_pool_write_errors[1h]) + "
            "increase(zfs_pool_checksum_errors[1h]) > 0",
            "0m",
            "ticket",
            "Disks of pool {{ $labels.pool }} at {{ $labels.instance }} fail",
            "ZFS mended what it could. A disk that begins so goes on.",
        ),
        Alert(
            "FileFluxPullsFailing",
            "sum by (instance, reason) (rate(fileflux_node_pulls_failed_total[5m])) > 0.5",
            "10m",
            "ticket",
            "{{ $labels.instance }} cannot fetch bundles: {{ $labels.reason }}",
            "Sources fail it; uploads settle by the other nodes.",
        ),
        Alert(
            "FileFluxReplicasFailing",
            "sum by (reason) (rate(fileflux_replicas_failed_total[5m])) > 0.1",
            "10m",
            "ticket",
            "Reads meet replicas that fail: {{ $labels.reason }}",
            "Another replica answered. A checksum that does not match is a disk that lies.",
        ),
    ),
)

DELIVERIES: Final = Group(
    "fileflux-deliveries",
    (
        Alert(
            "FileFluxWebhooksBehind",
            "max(fileflux_webhook_waiting) > 5000",
            "15m",
            "ticket",
            "{{ $value }} deliveries wait",
            "Receivers are slower than events come, or do not answer.",
        ),
        Alert(
            "FileFluxWebhooksGivenUp",
            "increase(fileflux_webhook_dead_total[1h]) > 0",
            "0m",
            "ticket",
            "Deliveries were given up",
            "A receiver failed for days. `fileflux webhook redrive` sends them again.",
        ),
        Alert(
            "FileFluxRoutesBehind",
            "max by (route) (fileflux_route_lag_records) > 1000",
            "15m",
            "ticket",
            "Route {{ $labels.route }} is {{ $value }} records late",
            "Its destination takes nothing, or less than is written.",
        ),
    ),
)

SURROUNDINGS: Final = Group(
    "fileflux-surroundings",
    (
        Alert(
            "FileFluxKafkaUnderReplicated",
            "sum(kafka_server_replicamanager_underreplicatedpartitions) > 0",
            "10m",
            "ticket",
            "{{ $value }} partitions of Kafka lack a replica",
            "One more broker down and they refuse writes.",
        ),
        Alert(
            "FileFluxKafkaOffline",
            "max(kafka_controller_kafkacontroller_offlinepartitionscount) > 0 or "
            "sum(kafka_server_replicamanager_underminisrpartitioncount) > 0",
            "1m",
            "page",
            "Partitions of Kafka take no writes",
            "Too few of their replicas are there. Uploads of these lanes hang.",
        ),
        Alert(
            "FileFluxCockroachNodeDown",
            'up{job="cockroachdb"} == 0',
            "3m",
            "page",
            "CockroachDB at {{ $labels.instance }} does not answer",
            "Two of three nodes carry on; the next one that fails stops everything.",
        ),
        Alert(
            "FileFluxCockroachUnavailable",
            "sum(ranges_unavailable) > 0",
            "1m",
            "page",
            "{{ $value }} ranges of CockroachDB have no quorum",
            "Statements on them wait.",
        ),
    ),
)

GROUPS: Final = (SERVICES, UPLOADS, PIPELINE, STORAGE, DELIVERIES, SURROUNDINGS)
