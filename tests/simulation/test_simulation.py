"""Schedules of the whole write path: fresh ones, those that once failed, and planted bugs.

Each runs in a process of its own, where sets of ids have one order, so that what fails here fails
again by the command that is printed.
"""

import os
import subprocess
import sys
import time

import pytest
from tests.simulation.corpus import CORPUS, Case
from tests.simulation.mutants import MUTANTS

pytestmark = pytest.mark.simulation

SECONDS_DEFAULT = 60.0
MUTANT_SEEDS = 150
START_S = 120.0
"""Of a process, on a busy machine, and of the schedule that it is in when its time is over."""


def _simulate(*arguments: str, within_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )


def _seconds() -> float:
    return float(os.environ.get("FILEFLUX_SIMULATION_SECONDS") or SECONDS_DEFAULT)


@pytest.mark.slow
@pytest.mark.timeout(_seconds() + 2 * START_S)
def test_fresh_schedules_break_no_promise(capsys: pytest.CaptureFixture[str]) -> None:
    """FILEFLUX_SIMULATION_SEED replays from that seed; otherwise the seeds are of this second."""
    seconds = _seconds()
    given = os.environ.get("FILEFLUX_SIMULATION_SEED")
    seed = given or str(int(time.time()) * 1_000)
    done = _simulate("--seconds", str(seconds), "--seed", seed, within_s=seconds + START_S)
    with capsys.disabled():
        print(f"\n{done.stdout}")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: str(case.seed))
def test_a_schedule_that_once_failed_holds(case: Case) -> None:
    faults = ",".join(case.faults)
    done = _simulate("--seed", str(case.seed), "--count", "1", "--faults", faults, within_s=START_S)

    assert done.returncode == 0, f"{case.why}\n{done.stdout}{done.stderr}"


def test_a_seed_is_one_schedule_in_every_process() -> None:
    """Also behind other schedules: nothing of one run is left for the next."""
    alone = _simulate("--seed", "3", "--count", "1", "--trace", within_s=START_S)
    behind = _simulate("--seed", "2", "--count", "2", "--trace", within_s=START_S)
    (trace,) = _traces(alone.stdout)

    assert trace.startswith("seed 3: trace ")
    assert _traces(behind.stdout)[1] == trace


def _traces(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if ": trace " in line]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_planted_bug_is_found(mutant: str) -> None:
    done = _simulate("--mutant", mutant, "--count", str(MUTANT_SEEDS), within_s=2 * START_S)

    assert done.returncode == 0, done.stdout + done.stderr
