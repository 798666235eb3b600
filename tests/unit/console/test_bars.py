"""Where no bars are seen a line says how far it is, now and then and not with every step."""

import io

import pytest
from rich.console import Console
from rich.progress import BarColumn

from fileflux.console import bars
from fileflux.console.bars import PLAIN_EVERY_S, Bars
from fileflux.console.rebuild_progress import RebuildProgress
from fileflux.metadata.rebuild import Progress as Step


@pytest.mark.parametrize("is_terminal", [True, False])
def test_lines_come_now_and_then_and_only_where_no_bars_are_seen(
    monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    now_s = 100.0
    monkeypatch.setattr("fileflux.console.bars.time.monotonic", lambda: now_s)
    out = io.StringIO()
    said = Bars(Console(file=out, force_terminal=is_terminal), BarColumn())
    for number in range(4 * 10):
        now_s = 100.0 + number * PLAIN_EVERY_S / 10
        said.say_now_and_then(lambda: f"at {number}")  # noqa: B023

    lines = [line for line in out.getvalue().splitlines() if "at " in line]
    assert lines == ([] if is_terminal else ["  at 10", "  at 20", "  at 30"])


def test_a_rebuild_says_how_many_records_of_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "PLAIN_EVERY_S", 0.0)
    out = io.StringIO()
    with RebuildProgress(Console(file=out)) as bar:
        bar.show(Step(position=7, end=20))
        bar.show(Step(position=20, end=None))

    lines = [line.split(" records")[0] for line in out.getvalue().splitlines() if "records" in line]
    assert lines[:2] == ["  7 of 20", "  20"]
