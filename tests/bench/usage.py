"""CPU seconds and memory of processes, from /proc."""

import os
import re
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu_s` since the process began; `pss_mib`: its proportional share of memory."""

    cpu_s: float
    pss_mib: float


def usage_of(pid: int) -> Usage:
    """Of a process and its children (workers)."""
    total_cpu = total_pss = 0.0
    for one in [pid, *_children(pid)]:
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total_cpu += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
            total_pss += _pss_mib(one)
        except OSError:
            continue
    return Usage(total_cpu, total_pss)


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    direct = [int(number) for number in text.split()]
    return [*direct, *(deeper for one in direct for deeper in _children(one))]


@dataclass(frozen=True, slots=True)
class Transactions:
    """Committed ones, and attempts run again for 40001 (a serialization failure)."""

    committed: int
    failed_40001: int


def transactions_of(ops_ports: Iterable[int]) -> Transactions:
    """What these services counted since their start."""
    texts = [_metrics(port) for port in ops_ports]
    return Transactions(
        committed=sum(_sum(text, "fileflux_database_transactions_total") for text in texts),
        failed_40001=sum(
            _sum(text, 'fileflux_database_retries_total{sqlstate="40001"}') for text in texts
        ),
    )


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def _sum(text: str, name: str) -> int:
    values = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return round(sum(float(value) for value in values))
