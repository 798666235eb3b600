"""Many schedules, what they covered, and the first that failed."""

import gc
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.simulation.mutants import HEALED, MUTANTS
from tests.simulation.plan import plan_of
from tests.simulation.run import Report, run_seed


@dataclass(slots=True)
class Totals:
    """Sums over all schedules of a campaign."""

    schedules: int = 0
    steps: int = 0
    strikes: int = 0
    virtual_s: float = 0.0
    operations: dict[str, int] = field(default_factory=dict)
    coverage: dict[str, int] = field(default_factory=dict)
    failpoints: set[str] = field(default_factory=set)
    failed: list[int] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.schedules += 1
        self.steps += report.steps
        self.strikes += report.strikes
        self.virtual_s += report.virtual_s
        for name, count in report.operations.items():
            self.operations[name] = self.operations.get(name, 0) + count
        for name in report.coverage:
            self.coverage[name] = self.coverage.get(name, 0) + 1
        self.failpoints |= report.failpoints
        if report.faults:
            self.failed.append(report.seed)

    def show(self, real_s: float) -> None:
        rate = 60 * self.schedules / real_s if real_s else 0
        print(
            f"simulation: {self.schedules} schedules in {real_s:.0f} s ({rate:.0f}/min), "
            f"{self.steps} steps, {self.virtual_s / 3600:.1f} virtual hours, "
            f"{self.strikes} faults, {len(self.coverage)} kinds, {len(self.failpoints)} failpoints"
        )
        print("operations:", ", ".join(f"{n} {c}" for n, c in sorted(self.operations.items())))
        print("covered:", ", ".join(f"{n} {c}" for n, c in sorted(self.coverage.items())))
        print("failpoints:", ", ".join(sorted(self.failpoints)))


def run_campaign(
    *,
    first_seed: int,
    faults: Sequence[str] = (),
    count: int | None,
    deadline_s: float | None,
    shows_traces: bool = False,
    keeps_going: bool = False,
) -> int:
    """Run seeds in order; return the exit code."""
    prepare_process()
    totals = Totals()
    started_s = time.monotonic()
    seed = first_seed
    while _goes_on(totals, count, deadline_s):
        report = run_seed(seed, plan_of(seed, faults))
        totals.add(report)
        if shows_traces:
            print(f"seed {seed}: trace {report.trace:08x}, {report.steps} steps", flush=True)
        if report.faults:
            show_failure(report, faults)
            if not keeps_going:
                break
        seed += 1
    totals.show(time.monotonic() - started_s)
    return 1 if totals.failed else 0


def prepare_process() -> None:
    """Collections are cheap, and coroutines of dead processes are collected without a word."""
    gc.collect()
    gc.freeze()
    sys.unraisablehook = lambda _: None


def _goes_on(totals: Totals, count: int | None, deadline_s: float | None) -> bool:
    if count is not None:
        return totals.schedules < count
    return deadline_s is None or time.monotonic() < deadline_s


def show_failure(report: Report, faults: Sequence[str] = ()) -> None:
    print(f"seed {report.seed} FAILED after {report.steps} steps:")
    for fault in report.faults[:12]:
        print(f"  {fault}")
    print("  with:", ", ".join(sorted(report.coverage)) or "no faults")
    forced = f" --faults {','.join(faults)!r}" if faults else ""
    print(
        f"  replay: python -m tests.simulation --seed {report.seed} --count 1{forced}", flush=True
    )


def hunt(mutant: str, *, first_seed: int, count: int) -> int:
    """Plant a bug; return 0 when a schedule finds it."""
    prepare_process()
    started_s = time.monotonic()
    planted = {**MUTANTS, **HEALED}[mutant]
    with planted.plant():
        for seed in range(first_seed, first_seed + count):
            plan = plan_of(seed, planted.faults)
            plan.checks_staging |= planted.checks_staging
            report = run_seed(seed, plan)
            if report.faults:
                took_s = time.monotonic() - started_s
                print(f"mutant {mutant!r} found by seed {seed} in {took_s:.1f} s:")
                print(f"  {report.faults[0]}")
                return 0
    print(f"mutant {mutant!r} survived {count} schedules")
    return 1
