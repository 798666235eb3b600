"""`tools/shift_traffic.py` as a person runs it: a process, a kubectl, a Prometheus, a keyboard."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deploy.delivery.fake_prometheus import Answer, figures, prometheus
from tests.deploy.delivery.test_traffic_ports import FAKE, POD, virtual_service

ROOT: Final = Path(__file__).parents[3]
SCRIPT: Final = ROOT / "tools/shift_traffic.py"
QUICK: Final = ("--step-seconds=0.01", "--interval-seconds=0.01", "--patience-seconds=0.05")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made: dict[str, Any] = {"object": virtual_service(), "pods": [POD]}
    made["object"]["metadata"]["resourceVersion"] = "1"
    path = tmp_path / "state.json"
    path.write_text(json.dumps(made))
    return path


def command(state: Path, *arguments: str) -> list[str]:
    kubectl = f"--kubectl={sys.executable} {FAKE} {state}"
    return [sys.executable, str(SCRIPT), *arguments[:1], kubectl, "--json", *arguments[1:]]


def run(state: Path, *arguments: str) -> dict[str, Any]:
    """Run it; return what it says as JSON, whose exit code is the process's."""
    done = subprocess.run(
        command(state, *arguments), capture_output=True, text=True, check=False, timeout=60
    )
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["exit_code"] == done.returncode, done.stderr
    return said


def forward(state: Path, answer: Answer, *arguments: str) -> dict[str, Any]:
    with prometheus(answer) as url:
        return run(state, "forward", f"--prometheus={url}", *QUICK, *arguments)


def history(state: Path) -> list[int]:
    """What the candidate got, one write after the other; the routes always agreed."""
    found = json.loads(state.read_text()).get("history", [])
    assert all(one[:2] == one[2:] and sum(one[:2]) == 100 for one in found)
    return [one[1] for one in found]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_good_candidate_is_rolled_out(state: Path) -> None:
    said = forward(state, figures(), "--steps=10,100")
    assert (said["outcome"], said["candidate"], said["exit_code"]) == ("done", 100, 0)
    assert history(state) == [10, 100]


def test_a_bad_candidate_is_taken_back(state: Path) -> None:
    said = forward(state, figures(candidate_fails=0.2))
    assert (said["went_back"], said["candidate"], said["exit_code"]) == (True, 0, 1)
    assert history(state) == [1, 0]


@pytest.mark.parametrize("pressed", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_stopped_job_go_back(state: Path, pressed: signal.Signals) -> None:
    with prometheus(figures(requests=1)) as url:
        process = subprocess.Popen(
            command(state, "forward", f"--prometheus={url}", "--interval-seconds=0.05"),
            stdout=subprocess.PIPE,
            text=True,
        )
        until(lambda: history(state) == [1])
        process.send_signal(pressed)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["went_back"] is True
    assert history(state) == [1, 0]


def test_a_killed_one_is_gone_on_with(state: Path) -> None:
    with prometheus(figures(requests=1)) as url:
        process = subprocess.Popen(
            command(state, "forward", f"--prometheus={url}", "--interval-seconds=0.05"),
            stdout=subprocess.DEVNULL,
        )
        until(lambda: history(state) == [1])
        process.kill()
        process.wait(30)
    assert "1% of steps 1,5,25,50,100" in run(state, "status")["reason"]
    assert forward(state, figures())["outcome"] == "done"
    assert history(state) == [1, 1, 5, 25, 50, 100]


def test_without_prometheus_or_cluster_it_refuses_to_begin(state: Path) -> None:
    with prometheus(figures()) as url:
        pass
    refused = run(state, "forward", f"--prometheus={url}")
    assert (refused["outcome"], refused["exit_code"]) == ("refused", 3)
    state.write_text(json.dumps({"gone": True}))
    assert run(state, "forward", f"--prometheus={url}")["exit_code"] == 3
    assert run(state, "status")["exit_code"] == 3


def test_a_cluster_that_went_away_leaves_a_clear_word_and_code(state: Path) -> None:
    def answer(query: str) -> float | None:
        kept = json.loads(state.read_text())
        if kept.get("history"):
            state.write_text(json.dumps({**kept, "gone": True}))
        return figures(candidate_fails=0.5)(query)  # type: ignore[return-value]

    said = forward(state, answer)
    assert (said["outcome"], said["exit_code"]) == ("stuck", 4)
    assert "could not be moved back" in said["reason"]


def test_a_dry_run_leaves_everything_as_it_is(state: Path) -> None:
    before = state.read_text()
    assert forward(state, figures(), "--dry-run")["outcome"] == "planned"
    assert state.read_text() == before


def test_back_gives_all_to_stable(state: Path) -> None:
    forward(state, figures(), "--steps=100")
    said = run(state, "back")
    assert (said["candidate"], said["exit_code"]) == (0, 0)
    assert history(state) == [100, 0]


@pytest.mark.parametrize("steps", ["0,50", "50,10", "50,101", "", "a"])
def test_steps_that_make_no_sense_are_a_usage_error(state: Path, steps: str) -> None:
    words = command(state, "forward", "--prometheus=http://127.0.0.1:1", f"--steps={steps}")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2


def test_help_teaches_the_commands_and_the_exit_codes() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True, check=True
    )
    for word in ("forward", "back", "status", "Exit codes", "Ctrl-C"):
        assert word in done.stdout
