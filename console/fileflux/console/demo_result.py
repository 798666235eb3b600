"""What the demo stores, and how it says what came of it."""

import json
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from fileflux.console.demo_files import DemoFiles, collect


@dataclass(frozen=True, slots=True)
class DemoLimits:
    """How much of the source directory is stored."""

    bytes_max: int
    files_max: int


def collect_and_say(out: Console, made: Path, source: Path | None, limits: DemoLimits) -> DemoFiles:
    """`made`: where the made files are kept. Without a source the Python installation is it."""
    root = source or Path(sysconfig.get_paths()["stdlib"])
    found = collect(
        root,
        made,
        bytes_max=limits.bytes_max,
        files_max=limits.files_max,
    )
    skipped = ", ".join(f"{count} {why}" for why, count in sorted(found.skipped.items()))
    out.print(
        f"storing {len(found.files)} files, {found.total_bytes / 1e6:.0f} MB, "
        f"of {escape(str(root))} (skipped: {skipped or 'none'})"
    )
    return found


def say_result(
    out: Console, found: DemoFiles, differences: int, *, began: float, as_json: bool
) -> None:
    """`began`: of the monotonic clock."""
    figures = {
        "files": len(found.files),
        "bytes": found.total_bytes,
        "differences": differences,
        "seconds": round(time.monotonic() - began),
    }
    if as_json:
        print(json.dumps(figures), flush=True)
    else:
        text = ", ".join(f"{figure} {name}" for name, figure in figures.items())
        out.print(f"demo: {text}", soft_wrap=True)
