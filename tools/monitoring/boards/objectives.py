"""What is promised."""

from typing import Final

from tools.monitoring.panel import Dashboard, Panel, Query, Row
from tools.monitoring.slo import OBJECTIVES

OBJECTIVES_BOARD: Final = Dashboard(
    "fileflux-slo",
    "FileFlux: objectives",
    "How much of each promise is used up.",
    tuple(
        Row(
            f"{objective.share:.4g} of {objective.title}",
            (
                Panel(
                    "Bad ones",
                    "Share of an hour and of 3 days that missed it.",
                    "percentunit",
                    (
                        Query(objective.series("1h"), "1 h"),
                        Query(objective.series("3d"), "3 d"),
                    ),
                    width=16,
                ),
                Panel(
                    "Speed",
                    "1: the budget lasts just its 30 days. Above 14.4 for an hour: a call.",
                    "short",
                    (Query(f"{objective.series('1h')} / {1 - objective.share:.4g}", "burn"),),
                    "stat",
                ),
            ),
        )
        for objective in OBJECTIVES
    ),
)
