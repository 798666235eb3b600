"""What runs, and on what."""

from typing import Final

from tools.monitoring.panel import Dashboard, Row
from tools.monitoring.panels import plain

CLUSTER: Final = Dashboard(
    "fileflux-cluster",
    "FileFlux: the cluster",
    "What runs, what it takes, Kafka and Kubernetes beneath.",
    (
        Row(
            "Services",
            (
                plain(
                    "Answering",
                    "Targets that Prometheus could scrape.",
                    "short",
                    "sum by (job) (up)",
                    "{{job}}",
                ),
                plain(
                    "Memory",
                    "Resident, by process.",
                    "bytes",
                    "process_resident_memory_bytes",
                    "{{job}} {{instance}}",
                ),
                plain(
                    "Processor",
                    "Cores, by process.",
                    "short",
                    "rate(process_cpu_seconds_total[5m])",
                    "{{job}} {{instance}}",
                ),
                plain(
                    "Late event loops",
                    "A blocking call shows here before it hurts.",
                    "s",
                    "fileflux_loop_lag_seconds",
                    "{{job}} {{instance}}",
                ),
                plain(
                    "Running for",
                    "Since the process started.",
                    "s",
                    "time() - process_start_time_seconds",
                    "{{job}} {{instance}}",
                ),
                plain(
                    "Restarts",
                    "Of containers, in an hour.",
                    "short",
                    "sum by (pod) "
                    '(increase(kube_pod_container_status_restarts_total{namespace="fileflux"}[1h]))',
                    "{{pod}}",
                ),
            ),
        ),
        Row(
            "Kafka",
            (
                plain(
                    "Partitions in trouble",
                    "Without all of their replicas.",
                    "short",
                    "sum(kafka_server_replicamanager_underreplicatedpartitions)",
                    "under-replicated",
                ),
                plain(
                    "Written",
                    "By the brokers.",
                    "Bps",
                    "sum(rate(kafka_server_brokertopicmetrics_bytesin_total[5m]))",
                    "in",
                ),
                plain(
                    "Read",
                    "From the brokers.",
                    "Bps",
                    "sum(rate(kafka_server_brokertopicmetrics_bytesout_total[5m]))",
                    "out",
                ),
            ),
        ),
        Row(
            "Kubernetes",
            (
                plain(
                    "Pods",
                    "By phase.",
                    "short",
                    'sum by (phase) (kube_pod_status_phase{namespace="fileflux"})',
                    "{{phase}}",
                ),
                plain(
                    "Memory of containers",
                    "What counts against the limit.",
                    "bytes",
                    "sum by (pod) "
                    '(container_memory_working_set_bytes{namespace="fileflux",container!=""})',
                    "{{pod}}",
                ),
                plain(
                    "Processor of containers",
                    "Cores.",
                    "short",
                    "sum by (pod) (rate("
                    'container_cpu_usage_seconds_total{namespace="fileflux",container!=""}[5m]))',
                    "{{pod}}",
                ),
            ),
        ),
    ),
)
