"""docs/reference/metrics.md, made from core/telemetry.py and the exporter's table.

The comment above a metric in the source is its explanation here: one place to write it.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from fileflux.core import telemetry
from fileflux.storage_node.exporter import FILESYSTEM_METRICS, POOL_METRICS

HEADER: Final = """\
# Metrics

Made from `core/fileflux/core/telemetry.py` and the storage node's exporter by `python -m
fileflux.console.metrics_reference` (`make docs`); do not edit it.

Every service serves `/metrics` on its ops port (`FILEFLUX_OPS_PORT`; of ingest, one port for each
worker: `FILEFLUX_INGEST_METRICS_PORT`). A storage node's pool figures have a port of their own,
9134 or the next free one. A service's page has the metrics of all services; those of others stay at
0. A sentence about several metrics stands at the first of them.
"""

SECTION: Final = re.compile(r"^# --- (.+?) -*$")
KINDS: Final[Mapping[type[MetricWrapperBase], str]] = {
    Counter: "counter",
    Gauge: "gauge",
    Histogram: "histogram",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `comment`: the lines above it in the source, if it has any of its own."""

    section: str
    name: str
    kind: str
    labels: tuple[str, ...]
    text: str
    comment: str


def metrics() -> list[Metric]:
    """Return every metric of the project, in the order of the source."""
    source = inspect.getsource(telemetry)
    lines = source.splitlines()
    return [
        _metric(value, _section(lines, node.lineno), _comment(lines, node.lineno))
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(value := getattr(telemetry, node.targets[0].id), MetricWrapperBase)
    ]


def _metric(value: MetricWrapperBase, section: str, comment: str) -> Metric:
    kind = KINDS[type(value)]
    name = value._name + ("_total" if kind == "counter" else "")
    return Metric(section, name, kind, value._labelnames, value._documentation, comment)


def _section(lines: list[str], line: int) -> str:
    for text in reversed(lines[: line - 1]):
        if match := SECTION.match(text):
            return match[1]
    return "all"


def _comment(lines: list[str], line: int) -> str:
    found: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.startswith("#") or SECTION.match(text):
            break
        found.insert(0, text.removeprefix("#").strip())
    return " ".join(found)


def render() -> str:
    """Return the whole page."""
    found = metrics()
    lines = [HEADER]
    for section in dict.fromkeys(metric.section for metric in found):
        lines += [
            f"## {section}",
            "",
            "| metric | kind | labels | what it says |",
            "|---|---|---|---|",
        ]
        lines += [_row(metric) for metric in found if metric.section == section]
        lines.append("")
    return "\n".join([*lines, *_exporter()]).rstrip() + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    text = f"{metric.text} {metric.comment}".strip().replace("|", "\\|")
    return f"| `{metric.name}` | {metric.kind} | {labels} | {text} |"


def _exporter() -> Iterator[str]:
    yield from ("## pool exporter (storage node, port 9134)", "")
    yield from ("| metric | kind | labels | what it says |", "|---|---|---|---|")
    for name, (text, _value_of) in POOL_METRICS.items():
        yield f"| `{name}` | gauge | `pool` | {text} |"
    for name, attribute in FILESYSTEM_METRICS.items():
        text = f"The file system's `{attribute.removesuffix('_bytes')}`."
        yield f"| `{name}` | gauge | `pool`, `filesystem` | {text} |"


if __name__ == "__main__":
    sys.stdout.write(render())
