"""The consumers of `examples/`, run as their readers run them, beside each other."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fileflux.console.kafka_jars import kafka_classpath

JDK_MIN: Final = 11
"""Runs a source file as it is, and Kafka's client."""
ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples"
HOW_TO: Final = ROOT / "docs" / "how-to" / "consume-from-kafka.md"


class Program:
    """One that runs until it is stopped; what it says is in a file."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], directory: Path, name: str
    ) -> None:
        self._command, self._log = list(command), directory / f"{name}.log"
        self._environment = {**os.environ, **environment}
        self._directory = directory
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command, env=self._environment, cwd=self._directory, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        assert self._process.poll() is None, f"it ended: {self._log.read_text()[-2_000:]}"
        return self._log.read_text()

    def kill_and_start_again(self) -> None:
        self.stop()
        self._process = self._start()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def running(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], directory: Path
) -> Iterator[dict[str, Program]]:
    """Run them all; kill them at the end."""
    programs: dict[str, Program] = {}
    try:
        for name, command in commands.items():
            programs[name] = Program(command, environment, directory, name)
        yield programs
    finally:
        for program in programs.values():
            program.stop()


def python(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *arguments]


def readers_of_others(cache_dir: Path) -> dict[str, list[str]]:
    """Return those in other languages whose tools are on this machine: kcat, and a JDK.

    Each prints a line for every event, from the first.
    """
    found: dict[str, list[str]] = {}
    if shutil.which("kcat"):
        found["kcat"] = ["sh", "-c", f"exec {kcat_lines()[0]}"]
    if (java := shutil.which("java")) and shutil.which("javac") and _jdk() >= JDK_MIN:
        jars = ":".join(map(str, kafka_classpath(cache_dir)))
        found["java"] = [java, "-cp", jars, str(EXAMPLES / "FollowAudit.java")]
    return found


def _jdk() -> int:
    """Return the JDK's major version: `javac 21.0.5`; 1 for those before 9."""
    done = subprocess.run(["javac", "-version"], capture_output=True, text=True, check=False)
    said = re.search(r"javac (\d+)", done.stdout + done.stderr)
    return int(said[1]) if said else 0


def kcat_lines() -> list[str]:
    """Return the how-to's lines for kcat. The first one does not end."""
    return [line for line in HOW_TO.read_text().splitlines() if line.startswith("kcat ")]
