"""`fileflux dev` as a person meets it: started, refused, killed, started again, stopped."""

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from tests.bench.signing import Account
from tests.fault.s3_client import Answer, NoAnswer, NotSent, S3Client

from fileflux.console.data_dir import FREE_BYTES_MIN, DataDir, DataDirProblem
from fileflux.console.processes import Identity, ProcessList
from fileflux.console.status_view import EVENTS_METRIC, lag_in, port_in, scrape

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

START_WITHIN_S: Final = 120.0
SOON_S: Final = 60.0
BUCKET: Final = "/of-a-person"


class Dev:
    """One `fileflux dev` on one directory, as a script would run it."""

    def __init__(self, data_dir: Path, cache_dir: Path) -> None:
        self.data_dir = data_dir
        self._cache_dir = cache_dir
        self.process: subprocess.Popen[str] | None = None
        self.said: dict[str, Any] = {}
        self._log = data_dir.parent / "dev.log"

    def ensure_running(self) -> None:
        if self.process is not None and self.process.poll() is None:
            return
        self._close()
        self.process = self.spawn("--port", "0", "--json")
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text()[-2_000:]
        self.said = json.loads(line)

    def spawn(self, *options: str) -> subprocess.Popen[str]:
        where = ["--data-dir", str(self.data_dir), "--cache-dir", str(self._cache_dir)]
        with self._log.open("a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "fileflux.console.cli", "dev", *where, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def refusal(self, *options: str) -> tuple[int, str]:
        """Start another one that has to end by itself; return its exit code and what it said."""
        where = ["--data-dir", str(self.data_dir), "--cache-dir", str(self._cache_dir)]
        done = subprocess.run(
            [sys.executable, "-m", "fileflux.console.cli", "dev", *where, *options],
            capture_output=True,
            text=True,
            timeout=SOON_S,
            check=False,
            env={**os.environ, "COLUMNS": "500"},
        )
        return done.returncode, done.stdout + done.stderr

    def processes(self) -> list[Identity]:
        return ProcessList(self.data_dir / "run" / "processes.json").read()

    def pid_of(self, name: str) -> int:
        return next((one.pid for one in self.processes() if one.name == name), 0)

    def ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        host = self.said["endpoint"].partition("://")[2]
        account = Account(host, self.said["access_key"], self.said["secret_key"])
        return asyncio.run(_ask(S3Client(account), method, path, body))

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run a command on this directory; return its exit code and its lines of JSON."""
        options = ("--json", "--data-dir", str(self.data_dir))
        done = subprocess.run(
            [sys.executable, "-m", "fileflux.console.cli", *arguments, *options],
            capture_output=True,
            text=True,
            timeout=SOON_S,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SOON_S)
        self._close()

    def _close(self) -> None:
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()


async def _ask(client: S3Client, method: str, path: str, body: bytes) -> Answer:
    try:
        return await client.request(method, path, body=body)
    finally:
        await client.close()


@pytest.fixture(scope="module")
def one_dev(server_dir: Path, cache_dir: Path) -> Iterator[Dev]:
    made = Dev(server_dir / "dev", cache_dir)
    yield made
    made.end()
    ProcessList(made.data_dir / "run" / "processes.json").stop_leftovers()


@pytest.fixture
def dev(one_dev: Dev) -> Dev:
    """It runs, with a bucket."""
    one_dev.ensure_running()
    assert one_dev.ask("PUT", BUCKET).status in (200, 409)
    return one_dev


def _wait(condition: Callable[[], bool], within_s: float = SOON_S) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.05)


@pytest.mark.timeout(START_WITHIN_S + SOON_S)
def test_a_script_is_told_where_the_system_is_and_how_to_get_in(dev: Dev) -> None:
    assert dev.ask("PUT", f"{BUCKET}/hello", b"of a person").status == 200
    assert dev.ask("GET", f"{BUCKET}/hello").body == b"of a person"
    expected = {"node-1", "node-2", "node-3", "placement", "materializer", "sequencer", "ingest"}
    expected.add("webhooks")
    assert set(dev.said["services"]) == expected


@pytest.mark.timeout(START_WITHIN_S + 2 * SOON_S)
def test_every_column_of_the_status_view_is_fed_by_the_services(dev: Dev) -> None:
    """And what they have dealt with is not waiting any more: a lag goes back to none."""
    for number in range(20):
        assert dev.ask("PUT", f"{BUCKET}/status-{number}", b"x").status == 200

    def is_fed(name: str) -> bool:
        said = json.loads((dev.data_dir / "run" / f"{name}.json").read_text())
        figures = scrape(said["ports"]["ops"])
        # Nobody subscribed to a webhook, so its process need not read the stream.
        has_read = figures.get(EVENTS_METRIC, 0) > 0 or name == "webhooks"
        is_fed = has_read and lag_in(figures) == 0
        return is_fed and port_in(said["ports"]) is not None

    for name in dev.said["services"]:
        _wait(partial(is_fed, name))


@pytest.mark.timeout(START_WITHIN_S + SOON_S)
def test_a_second_dev_on_the_directory_is_refused_and_names_the_first(dev: Dev) -> None:
    assert dev.process is not None

    code, said = dev.refusal("--port", "0")

    assert code == 1
    assert f"process {dev.process.pid}" in said
    assert "--data-dir" in said
    assert dev.ask("GET", BUCKET).status == 200  # The first one did not even notice.


@pytest.mark.timeout(START_WITHIN_S + 2 * SOON_S)
def test_a_service_that_is_killed_is_started_again(dev: Dev) -> None:
    before = dev.pid_of("sequencer")

    os.kill(before, signal.SIGKILL)

    _wait(lambda: dev.pid_of("sequencer") not in (0, before))


@pytest.mark.timeout(START_WITHIN_S + 3 * SOON_S)
def test_who_follows_events_sees_each_once_although_ingest_and_sequencer_are_killed(
    dev: Dev,
) -> None:
    """The example that people copy, over the real port, Kafka and database."""
    names = [f"followed-{number}" for number in range(30)]
    with _following(dev) as followed:
        for number, name in enumerate(names):
            _wait(partial(_is_stored, dev, f"{BUCKET}/{name}"))
            if number in (8, 20):
                os.kill(dev.pid_of("ingest" if number == 8 else "sequencer"), signal.SIGKILL)
        assert followed.stdout is not None
        seen = [followed.stdout.readline().split()[2].partition("/")[2]]
        while seen[-1] != names[-1]:
            seen.append(followed.stdout.readline().split()[2].partition("/")[2])

    # An upload without an answer is tried again: it may be there twice, one after the other.
    assert [name for name, _ in itertools.groupby(seen)] == names
    assert len(seen) <= len(names) + 2


def _is_stored(dev: Dev, path: str) -> bool:
    try:
        return dev.ask("PUT", path, b"x").status == 200
    except (NoAnswer, NotSent):
        return False  # Ingest is being started again.


@contextmanager
def _following(dev: Dev) -> Iterator[subprocess.Popen[str]]:
    example = Path(__file__).parents[3] / "examples/follow_events.py"
    process = subprocess.Popen(
        [sys.executable, str(example), "from=start&operation=PutObject&prefix=followed-"],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "EVENTS_URL": dev.said["endpoint"],
            "EVENTS_USER": "root",
            "EVENTS_PASSWORD": dev.said["secret_key"],
        },
    )
    with process:
        yield process
        process.kill()


@pytest.mark.timeout(START_WITHIN_S + SOON_S)
def test_a_bucket_that_was_emptied_and_deleted_by_mistake_is_restored_byte_for_byte(
    dev: Dev,
) -> None:
    objects = {"small": b"a few bytes", "empty": b"", "large": b"0123456789abcdef" * (9 << 16)}
    assert dev.ask("PUT", "/mistake").status == 200
    for key, body in objects.items():
        assert dev.ask("PUT", f"/mistake/{key}", body).status == 200
    before = datetime.now(UTC).isoformat()
    assert dev.ask("PUT", "/mistake/small", b"wrong").status == 200
    for path in (*(f"/mistake/{key}" for key in objects), "/mistake"):
        assert dev.ask("DELETE", path).status == 204
    command = ("restore", "mistake", "--as-of", before)
    for options, made in (("--dry-run",), 3), ((), 3), ((), 0):
        code, lines = dev.run(*command, *options)
        summary = lines[-1]["summary"]
        assert (code, summary["keys"]["create"], len(lines)) == (0, made, 4)
        assert summary["makes_bucket"] == bool(made)
        assert summary["keys"]["unchanged"] == 3 - made

    for key, body in objects.items():
        answer = dev.ask("GET", f"/mistake/{key}")
        assert (answer.status, answer.body) == (200, body), key
    assert dev.run("hold", "list") == (0, [{"holds": []}])


@pytest.mark.timeout(START_WITHIN_S + SOON_S)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a privilege to give away")
def test_as_root_the_database_runs_as_somebody_else(dev: Dev) -> None:
    status = Path(f"/proc/{dev.pid_of('postgres')}/status").read_text()
    uid_line = next(line for line in status.splitlines() if line.startswith("Uid:"))

    assert "0" not in uid_line.split()[1:]


@pytest.mark.timeout(2 * START_WITHIN_S + 2 * SOON_S)
def test_after_a_kill_9_the_next_dev_stops_the_leftovers_and_finds_the_data(dev: Dev) -> None:
    dev.ask("PUT", f"{BUCKET}/before", b"the kill")
    assert dev.process is not None
    dev.process.kill()
    dev.process.wait()
    left = dev.processes()
    assert any(one.is_alive() for one in left)  # Otherwise this proves nothing.

    dev.ensure_running()

    assert [one for one in left if one.is_alive()] == []
    assert dev.ask("GET", f"{BUCKET}/before").body == b"the kill"


@pytest.mark.timeout(START_WITHIN_S + 2 * SOON_S)
def test_ctrl_c_leaves_no_process_behind(dev: Dev) -> None:
    running = dev.processes()
    assert len(running) == len(dev.said["services"]) + 2  # Kafka and PostgreSQL.
    assert dev.process is not None

    dev.process.send_signal(signal.SIGINT)

    assert dev.process.wait(SOON_S) == 0
    assert [one.name for one in running if one.is_alive()] == []


@pytest.mark.timeout(2 * SOON_S)
@pytest.mark.parametrize("begun", ["kafka", "node-1"])
def test_ctrl_c_during_the_start_is_heard_at_once_and_leaves_no_process(
    server_dir: Path, cache_dir: Path, begun: str
) -> None:
    """A start may take minutes on a loaded machine: nobody waits for its next step."""
    dev = Dev(server_dir / f"given-up-{begun}", cache_dir)
    process = dev.spawn("--port", "0")
    _wait(lambda: dev.pid_of(begun) != 0)
    running = dev.processes()

    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=SOON_S / 6)

    assert process.returncode == 0
    assert "stopped while starting" in said
    assert [one.name for one in running if one.is_alive()] == []


def test_a_port_that_is_taken_is_said_with_what_to_do(server_dir: Path, cache_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]

        code, said = Dev(server_dir / "taken", cache_dir).refusal("--port", str(port))

    assert code == 1
    assert f"port {port} is taken" in said
    assert "--port" in said


def test_a_directory_of_a_newer_version_is_not_touched(server_dir: Path, cache_dir: Path) -> None:
    dev = Dev(server_dir / "newer", cache_dir)
    dev.data_dir.mkdir()
    (dev.data_dir / "VERSION").write_text("999\n")

    code, said = dev.refusal("--port", "0")

    assert code == 1
    assert "newer FileFlux" in said
    assert (dev.data_dir / "VERSION").read_text() == "999\n"
    assert not (dev.data_dir / "kafka").exists()


def test_a_disk_that_is_full_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = list(os.statvfs(tmp_path))
    figures[1], figures[4] = 4096, FREE_BYTES_MIN // 4096 - 1  # f_frsize, f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(figures))
    data = DataDir(tmp_path / "data")

    with pytest.raises(DataDirProblem, match="2047 MiB free; 2048 MiB"):
        data.open()

    data.close()
