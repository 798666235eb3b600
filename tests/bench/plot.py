"""One picture of a bench run: each figure as bars, by number of clients."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt  # The backend comes first.

mpl.rcParams["svg.fonttype"] = "none"  # Letters stay letters: half the size.
mpl.rcParams["svg.hashsalt"] = "fileflux"


def draw(result: dict[str, Any], path: Path) -> None:
    """Write an SVG: a row of panels per run, ops/s for small sizes, MB/s for large ones."""
    runs = result["runs"]
    figure, axes = plt.subplots(len(runs), 2, figsize=(13, 4.2 * len(runs)), squeeze=False)
    for (small, large), run in zip(axes, runs, strict=True):
        _bars(small, run, "ops_per_s", lambda name: name.split()[1:2] in (["4K"], ["64K"]))
        _bars(large, run, "mb_per_s", lambda name: name.split()[1:2] in (["1M"], ["64M"]))
        small.set_title(f"{run['target']}: ops/s")
        large.set_title(f"{run['target']}: MB/s")
    ceilings = ", ".join(f"{k} {v:,.0f}" for k, v in result["ceilings"].items())
    figure.suptitle(f"{result['date']}; the machine in the same run: {ceilings}", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _bars(axis: Any, run: dict[str, Any], figure: str, wanted: Any) -> None:
    rows = [row for row in run["rows"] if wanted(row["name"])]
    labels = [f"{row['name']} x {row['clients']}" for row in rows]
    axis.barh(labels, [row[figure] for row in rows], color="#3b7dd8")
    axis.invert_yaxis()
    for index, row in enumerate(rows):
        axis.text(row[figure], index, f" {row[figure]:,.0f}", va="center", fontsize=8)
    axis.tick_params(labelsize=8)
