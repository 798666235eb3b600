"""Small pieces of the local system: ports, processes found again, demo files, metrics."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fileflux.console.demo_files import LARGEST, MADE_SIZES, collect
from fileflux.console.processes import ManagedProcess, ProcessList, start_time


def test_a_leftover_is_stopped_and_a_stranger_with_its_pid_is_not(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import time; time.sleep(600)"]
    left = subprocess.Popen(argv, start_new_session=True)
    known = ProcessList(tmp_path / "processes.json")
    known.write({"left": left.pid})
    text = known._path.read_text()
    known._path.write_text(text.replace("]]", f'], ["stranger", {os.getpid()}, "0"]]'))

    assert known.stop_leftovers() == ["left"]
    assert left.wait(10) != 0
    assert known.read() == []


def test_workers_whose_parent_died_do_not_outlive_the_next_one(tmp_path: Path) -> None:
    """Nobody would stop them: they are of a group that is forgotten."""
    worker = tmp_path / "worker"
    program = (
        "import pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(worker)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    service = ManagedProcess(
        name="parent",
        argv=[sys.executable, "-c", program],
        env={},
        log_path=tmp_path / "log",
        ready_path=tmp_path / "ready",
    )
    service.start()
    deadline = time.monotonic() + 10
    while not (worker.exists() and worker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    orphan = int(worker.read_text())
    service.signal(9)
    while service.is_running:
        time.sleep(0.02)

    service.start()

    while start_time(orphan) and time.monotonic() < deadline:
        time.sleep(0.02)
    survives = bool(start_time(orphan))
    service.kill()
    assert not survives


def test_a_process_that_was_restarted_announces_its_own_ports_only(tmp_path: Path) -> None:
    script = (
        "import json, os, time; "
        "open(os.environ['FILEFLUX_READY_FILE'], 'w')"
        ".write(json.dumps({'pid': os.getpid(), 'ports': {'http': 7}})); time.sleep(600)"
    )
    process = ManagedProcess(
        name="one",
        argv=[sys.executable, "-c", script],
        env=dict(os.environ),
        log_path=tmp_path / "log",
        ready_path=tmp_path / "ready",
    )
    process.start()
    while process.ports() != {"http": 7}:
        assert process.is_running
    announced = (tmp_path / "ready").read_text()
    process.kill()
    process.start()
    (tmp_path / "ready").write_text(announced)

    assert process.ports() == {}
    process.kill()
    assert not process.is_running


def test_links_and_names_that_are_no_text_are_skipped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fileflux.console.demo_files.LARGEST", 100)
    source = tmp_path / "source"
    source.mkdir()
    (source / "plain").write_bytes(b"12345")
    (source / "link").symlink_to("plain")
    (source / os.fsdecode(b"not-\xff-text")).write_bytes(b"x")
    os.mkfifo(source / "pipe")
    (source / "zz-big").write_bytes(b"x" * 10_000)
    found = collect(source, tmp_path / "made", bytes_max=9_000, files_max=100)

    keys = [key for key, _ in found.files]
    assert keys[-1] == "python/plain"
    assert len(keys) == len(MADE_SIZES) + 2
    assert dict(found.skipped) == {
        "link": 1,
        "name is not UTF-8": 1,
        "no regular file": 1,
        "beyond the size asked for": 1,
    }
    assert LARGEST == 300_000_000


def test_a_database_left_over_is_told_not_to_wait_for_its_clients(tmp_path: Path) -> None:
    """SIGTERM waits for them; then it was killed, and the next one found its lock file."""
    said = tmp_path / "said"
    program = (
        "import pathlib, signal, sys, time\n"
        f"said = pathlib.Path({str(said)!r})\n"
        "def on_signal(number, frame):\n"
        "    said.write_text(f'{said.read_text()}{signal.Signals(number).name}')\n"
        "    sys.exit(0)\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    signal.signal(number, on_signal)\n"
        "said.write_text('ready ')\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    while not (said.exists() and said.read_text()):
        time.sleep(0.01)
    known = ProcessList(tmp_path / "processes.json")
    known.write({"postgres": process.pid})

    known.stop_leftovers()

    assert process.wait(5) == 0
    assert said.read_text() == "ready SIGINT"
