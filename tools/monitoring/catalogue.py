"""Every metric that a rule or a panel may name: ours out of the code, others' with their source.

A name that is in neither list fails the generation, so that a metric which was renamed in the code
takes its rules and panels along.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from fileflux.console.metrics_reference import metrics
from fileflux.storage_node.exporter import FILESYSTEM_METRICS, POOL_METRICS

STRIMZI: Final = "Kafka, by the JMX rules of Strimzi's examples (strimzi.io, metrics)"
COCKROACH: Final = "CockroachDB, /_status/vars (cockroachlabs.com, essential metrics)"
KUBERNETES: Final = "cAdvisor and kube-state-metrics (their documentation)"
PROMETHEUS: Final = "Prometheus itself"

FOREIGN: Final[dict[str, str]] = {
    "up": PROMETHEUS,
    "process_resident_memory_bytes": "Prometheus' client, in every service of ours",
    "process_cpu_seconds_total": "Prometheus' client, in every service of ours",
    "process_start_time_seconds": "Prometheus' client, in every service of ours",
    "kafka_server_replicamanager_underreplicatedpartitions": STRIMZI,
    "kafka_server_replicamanager_underminisrpartitioncount": STRIMZI,
    "kafka_controller_kafkacontroller_offlinepartitionscount": STRIMZI,
    "kafka_server_brokertopicmetrics_bytesin_total": STRIMZI,
    "kafka_server_brokertopicmetrics_bytesout_total": STRIMZI,
    "ranges_underreplicated": COCKROACH,
    "ranges_unavailable": COCKROACH,
    "sql_conns": COCKROACH,
    "capacity": COCKROACH,
    "capacity_available": COCKROACH,
    "txn_restarts_serializable": COCKROACH,
    "sys_uptime": COCKROACH,
    "container_cpu_usage_seconds_total": KUBERNETES,
    "container_memory_working_set_bytes": KUBERNETES,
    "kube_pod_container_status_restarts_total": KUBERNETES,
    "kube_pod_status_phase": KUBERNETES,
    "kube_node_status_condition": KUBERNETES,
}
LISTS: Final = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
RANGE: Final = re.compile(r"\[[^\]]*\]")
NAME: Final = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?")
LABEL: Final = re.compile(r"([a-z_][a-z0-9_]*)\s*(?:=~|!=|!~|=)")
OPERATORS: Final = frozenset({"and", "or", "unless", "offset", "bool", "group_left", "group_right"})
SCRAPED_LABELS: Final = frozenset({"job", "instance", "pod", "namespace", "node", "le"})
"""What the scrape or the histogram adds to every series."""


@dataclass(frozen=True)
class Known:
    """A metric of ours with the labels that the code gives it."""

    name: str
    labels: frozenset[str]
    source: str


@cache
def known_metrics() -> dict[str, Known]:
    """Return ours by name; of a histogram its three series. Reading the code takes a while."""
    found = {}
    for metric in metrics():
        ends = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        for end in ends:
            name = metric.name + end
            found[name] = Known(name, frozenset(metric.labels), metric.section)
    for name in POOL_METRICS:
        found[name] = Known(name, frozenset({"pool"}), "pool exporter")
    for name in FILESYSTEM_METRICS:
        found[name] = Known(name, frozenset({"pool", "filesystem"}), "pool exporter")
    return found


def problems_of(expression: str, recorded: frozenset[str] = frozenset()) -> list[str]:
    """Return what an expression names that does not exist: metrics, and labels of ours."""
    ours, wrong = known_metrics(), []
    for name, selector in names_in(expression):
        if name in recorded or name in FOREIGN:
            continue
        if name not in ours:
            wrong.append(f"no metric {name}")
            continue
        labels = set(LABEL.findall(selector)) - SCRAPED_LABELS - ours[name].labels
        wrong += [f"{name} has no label {label}" for label in sorted(labels)]
    return wrong


def names_in(expression: str) -> list[tuple[str, str]]:
    """Return (metric, selector) of each series that an expression reads."""
    # Lists of labels and ranges hold no metric; what a bracket follows is a function.
    bare = RANGE.sub(" ", LISTS.sub(" ", expression))
    return [
        (match[1], match[2] or "")
        for match in NAME.finditer(bare)
        if match[2] != "(" and match[1] not in OPERATORS
    ]
