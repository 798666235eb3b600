"""A `cockroach` on PATH is started as it wants to be; here a script stands in for the binary."""

import os
from pathlib import Path

import pytest

from fileflux.console.cockroach_server import CockroachServer, CockroachStartFailed

NODE = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in
  start-single-node) exec sleep 600 ;;
  sql) [ -e "{ready}" ] || {{ touch "{ready}"; exit 1; }} ;;
esac
"""


def _binary(directory: Path, text: str) -> str:
    path = directory / "cockroach"
    path.write_text(text.format(log=directory / "calls", ready=directory / "ready"))
    path.chmod(0o755)
    return str(path)


def test_a_node_is_started_on_loopback_and_waited_for(tmp_path: Path) -> None:
    server = CockroachServer(tmp_path / "data", binary=_binary(tmp_path, NODE), port=26999)
    server.start()
    pid = server.pid
    server.stop()

    calls = (tmp_path / "calls").read_text().splitlines()
    start = next(call for call in calls if call.startswith("start-single-node"))
    assert "--listen-addr=127.0.0.1:26999" in start
    assert f"--store={tmp_path}/data/store" in start
    assert sum("CREATE DATABASE IF NOT EXISTS fileflux" in call for call in calls) == 2
    assert server.dsn == "postgresql://root@127.0.0.1:26999/fileflux?sslmode=disable"
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_node_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    text = '#!/bin/sh\n[ "$1" = sql ] && exit 1\necho "no licence found"\nexit 1\n'
    server = CockroachServer(tmp_path / "data", binary=_binary(tmp_path, text), port=26999)

    with pytest.raises(CockroachStartFailed, match="no licence found"):
        server.start()
    assert not server.is_running
