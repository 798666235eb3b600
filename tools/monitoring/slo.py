"""What FileFlux promises its clients, and alerts on how fast the promise is used up.

Windows and factors are those of "The Site Reliability Workbook", chapter 5 (multiwindow,
multi-burn-rate): a long window says that it matters, a short one that it still goes on.
"""

from dataclasses import dataclass
from typing import Final

from tools.monitoring.rule import Alert, Group, Recording, Severity

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True)
class Objective:
    """`bad`, `all`: expressions with WINDOW in them. `share`: of good ones, over 30 days."""

    name: str
    alert: str
    title: str
    bad: str
    total: str
    share: float

    def series(self, window: str) -> str:
        return f"fileflux:{self.name}_bad:ratio_rate{window}"

    def recordings(self) -> tuple[Recording, ...]:
        return tuple(
            Recording(
                self.series(window),
                f"({self.bad}) / ({self.total})".replace("WINDOW", window),
            )
            for window in WINDOWS
        )


OBJECTIVES: Final = (
    Objective(
        "availability",
        "Availability",
        "requests answered without a server error",
        'sum(rate(fileflux_s3_requests_total{status="5xx"}[WINDOW])) or vector(0)',
        "sum(rate(fileflux_s3_requests_total[WINDOW]))",
        0.999,
    ),
    Objective(
        "read_latency",
        "ReadLatency",
        "GetObject whole within half a second",
        'sum(rate(fileflux_s3_request_seconds_count{operation="GetObject"}[WINDOW])) - '
        'sum(rate(fileflux_s3_request_seconds_bucket{operation="GetObject",le="0.5"}[WINDOW]))',
        'sum(rate(fileflux_s3_request_seconds_count{operation="GetObject"}[WINDOW]))',
        0.99,
    ),
    Objective(
        "settle_latency",
        "SettleLatency",
        "small uploads durable and visible within a second of their flush",
        'sum(rate(fileflux_settle_seconds_count{size_class="small"}[WINDOW])) - '
        'sum(rate(fileflux_settle_seconds_bucket{size_class="small",le="1.0"}[WINDOW]))',
        'sum(rate(fileflux_settle_seconds_count{size_class="small"}[WINDOW]))',
        0.99,
    ),
)

BURNS: Final[tuple[tuple[str, Severity, tuple[tuple[float, str, str], ...], str], ...]] = (
    ("Fast", "page", ((14.4, "1h", "5m"), (6.0, "6h", "30m")), "2m"),
    ("Slow", "ticket", ((3.0, "1d", "2h"), (1.0, "3d", "6h")), "15m"),
)


def groups() -> tuple[Group, ...]:
    recorded = tuple(one for objective in OBJECTIVES for one in objective.recordings())
    alerts = tuple(_alert(objective, *burn) for objective in OBJECTIVES for burn in BURNS)
    return (Group("fileflux-slo", (*recorded, *alerts)),)


def _alert(
    objective: Objective,
    speed: str,
    severity: Severity,
    steps: tuple[tuple[float, str, str], ...],
    lasts: str,
) -> Alert:
    budget = 1 - objective.share
    pairs = (
        f"({objective.series(long)} > {factor * budget:.6g} and "
        f"{objective.series(short)} > {factor * budget:.6g})"
        for factor, long, short in steps
    )
    return Alert(
        f"FileFlux{objective.alert}Burns{speed}",
        " or ".join(pairs),
        lasts,
        severity,
        f"Too few {objective.title}",
        f"The promise is {objective.share:.4g} over 30 days; its budget will be gone long before.",
    )
