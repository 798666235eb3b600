"""Failpoints act when armed and are silent otherwise."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
from fileflux.core.failpoints import failpoint
for n in range(1, 4):
    failpoint("a.point")
    failpoint("another")
    print(n, flush=True)
"""


def _run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )


def test_an_unarmed_point_does_nothing() -> None:
    assert _run().stdout.split() == ["1", "2", "3"]


def test_kill_at_the_third_hit_ends_the_process_there() -> None:
    result = _run(FILEFLUX_FAILPOINTS="a.point=kill@3")

    assert result.returncode == -9
    assert result.stdout.split() == ["1", "2"]


def test_a_file_arms_a_point_in_a_process_that_runs(tmp_path: Path) -> None:
    armed = tmp_path / "failpoints"
    armed.write_text("another=raise:boom")

    result = _run(FILEFLUX_FAILPOINTS_FILE=str(armed))

    assert "FailpointError: another: boom" in result.stderr
