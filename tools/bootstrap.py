"""Make the environments that `make` works in, from hash-locked requirements.

Only the standard library, and syntax that Python 3.7 reads: an old Python must get as far as the
sentence that says which one is needed. Everything is checked before anything is downloaded.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE_DIR = Path(os.environ.get("FILEFLUX_CACHE_DIR") or ROOT / ".cache").resolve()
LOG_PATH = CACHE_DIR / "bootstrap.log"
PYTHON_MIN = (3, 11)
MIB = 1 << 20
REPORT_EVERY_S = 5.0
STARTED_AT = time.monotonic()


@dataclass(frozen=True)
class Environment:
    """One virtual environment, or the part of one that a group of locks makes."""

    folder: Path
    locks: tuple[str, ...]
    has_project: bool
    download_mib: int
    disk_mib: int

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def lock_paths(self) -> list[Path]:
        return [ROOT / "requirements" / f"{lock}.lock" for lock in self.locks]


ENVIRONMENTS = {
    "run": Environment(ROOT / ".venv", ("build", "runtime"), True, 95, 420),
    "dev": Environment(ROOT / ".venv", ("build", "runtime", "dev"), True, 175, 800),
    "demo-client": Environment(ROOT / ".venv-clients", ("demo",), False, 17, 110),
    "clients": Environment(ROOT / ".venv-clients", ("clients",), False, 66, 400),
    "go": Environment(ROOT / ".venv-go", ("go",), False, 75, 300),
    "deploy": Environment(ROOT / ".venv-deploy", ("deploy",), False, 190, 900),
}
KAFKA = "kafka"
KAFKA_MIB = 43


def main(names: Sequence[str]) -> None:
    """Make what is named: keys of ENVIRONMENTS, or `kafka` for Kafka's jars."""
    check_python()
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    with one_at_a_time():
        wanted = [name for name in names if not is_ready(name)]
        if not wanted:
            return
        check_disk(wanted)
        for name in wanted:
            if name == KAFKA:
                fetch_kafka()
            else:
                make_environment(name)
        say("ready")


def check_python() -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_MIN:
        fail(
            f"{sys.executable} is Python {version}; FileFlux needs 3.11 or newer.",
            "Debian and Ubuntu: apt install python3.11 python3.11-venv. "
            "One that is elsewhere: make PYTHON=/path/to/python3 ...",
        )
    try:
        import ensurepip  # noqa: F401  # Debian keeps it in a package of its own.
        import venv  # noqa: F401
    except ImportError:
        command = "apt install python{}.{}-venv".format(*sys.version_info)
        fail(
            f"{sys.executable} (Python {version}) lacks venv or ensurepip.",
            f"Debian and Ubuntu: {command}. After that about "
            f"{download_mib(['run', 'demo-client', KAFKA])} MiB are downloaded.",
        )


def check_disk(wanted: Sequence[str]) -> None:
    to_download = download_mib(wanted)
    needed = to_download + sum(ENVIRONMENTS[name].disk_mib for name in wanted if name != KAFKA)
    free = min(shutil.disk_usage(path).free // MIB for path in (ROOT, CACHE_DIR))
    if free < needed:
        fail(
            f"{free} MiB are free in {ROOT} and {CACHE_DIR}; {needed} MiB are needed "
            f"({to_download} MiB of it to download).",
            "Free some, or put the caches on another disk: make FILEFLUX_CACHE_DIR=/path ...",
        )
    say(f"at most {to_download} MiB to download, {needed} MiB on disk")


def download_mib(names: Sequence[str]) -> int:
    return sum(KAFKA_MIB if name == KAFKA else ENVIRONMENTS[name].download_mib for name in names)


def make_environment(name: str) -> None:
    environment = ENVIRONMENTS[name]
    where = environment.folder.name
    remove_unusable(environment)
    if not environment.python.exists():
        say(f"{where}: new, on Python {sys.version.split()[0]}")
        run([sys.executable, "-m", "venv", "--clear", str(environment.folder)])
    # Complete locks need no resolver; wheels only, since building would run what nobody locked.
    pip = [str(environment.python), "-m", "pip", "install", "--no-deps"]
    locked = [*pip, "--require-hashes", "--only-binary", ":all:"]
    for lock in environment.lock_paths:
        count = lock.read_text().count("==")
        say(f"{where}: {lock.name}, {count} packages")
        run([*locked, "-r", str(lock)], on_line=package_counter(where, count))
    if environment.has_project:
        say(f"{where}: FileFlux itself")
        run([*pip, "--no-build-isolation", "-e", str(ROOT)])
    for made in made_with(name):
        stamp_path(made).write_text(json.dumps(stamp(made)))


def made_with(name: str) -> list[str]:
    """The environment and what it contains: who has "dev" has "run"."""
    whole = ENVIRONMENTS[name]
    return [
        part
        for part, environment in ENVIRONMENTS.items()
        if environment.folder == whole.folder and set(environment.locks) <= set(whole.locks)
    ]


def fetch_kafka() -> None:
    say("Kafka")
    python = ENVIRONMENTS["run"].python
    run(
        [str(python), "-m", "fileflux.console.kafka_jars", str(CACHE_DIR)],
        on_line=throttled(lambda line: say(f"Kafka: {line.strip()}")),
    )


def is_ready(name: str) -> bool:
    if name == KAFKA:
        # Each start of Kafka verifies the contents; here it is enough that the files are there.
        lock = (ROOT / "console/fileflux/console/kafka.lock").read_text()
        return len(list((CACHE_DIR / "kafka").glob("*.jar"))) >= lock.count(" sha256:")
    try:
        return bool(json.loads(stamp_path(name).read_text()) == stamp(name))
    except (OSError, ValueError):
        return False


def stamp(name: str) -> dict[str, str]:
    """What an environment is made from; its path too, since one that was moved does not work."""
    environment = ENVIRONMENTS[name]
    project = [ROOT / "pyproject.toml"] if environment.has_project else []
    sources = b"\0".join(path.read_bytes() for path in [*environment.lock_paths, *project])
    return {
        "sources": hashlib.sha256(sources).hexdigest(),
        "folder": str(environment.folder),
        "python": (environment.folder / "pyvenv.cfg").read_text(),
    }


def stamp_path(name: str) -> Path:
    return ENVIRONMENTS[name].folder / f"fileflux-{name}.stamp"


def remove_unusable(environment: Environment) -> None:
    """An environment that lay elsewhere, or whose Python is gone, is made anew.

    One on another Python than ours stays: two shells with different PATHs would take turns.
    """
    folder = environment.folder
    made_in = {read_stamp(path).get("folder") for path in folder.glob("fileflux-*.stamp")}
    if made_in - {str(folder)} or (folder.exists() and not works(environment.python)):
        say(f"{folder.name}: was made elsewhere or lost its Python; made anew")
        shutil.rmtree(folder)


def read_stamp(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text()))
    except ValueError:
        return {}


def works(python: Path) -> bool:
    try:
        command = [str(python), "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]
        return subprocess.call(command, stderr=subprocess.DEVNULL) == 0  # noqa: S603  # Our own.
    except OSError:
        return False


def package_counter(where: str, count: int) -> Callable[[str], None]:
    """pip shows one package at a time; a person wants to know how many are left."""
    seen = 0
    report = throttled(say)

    def on_line(line: str) -> None:
        nonlocal seen
        seen += line.startswith(("Collecting", "Requirement already satisfied", "Ignoring"))
        if line.startswith("Installing"):
            say(f"{where}: installing")
        else:
            report(f"{where}: {seen} of {count} packages")

    return on_line


def throttled(report: Callable[[str], None]) -> Callable[[str], None]:
    reported_at = time.monotonic()

    def on_line(line: str) -> None:
        nonlocal reported_at
        if time.monotonic() - reported_at >= REPORT_EVERY_S:
            reported_at = time.monotonic()
            report(line)

    return on_line


def run(command: Sequence[str], *, on_line: Callable[[str], None] = lambda _line: None) -> None:
    """Run a command; the log keeps what it says, `on_line` sees it as it comes."""
    environment = {"PIP_CACHE_DIR": str(CACHE_DIR / "pip"), **os.environ}
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    process = subprocess.Popen(  # noqa: S603  # Our own commands, no shell.
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    with process, LOG_PATH.open("a", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        for line in process.stdout:
            log.write(line)
            on_line(line)
    if process.returncode != 0:
        fail_command(command, process.returncode)


def fail_command(command: Sequence[str], code: int) -> None:
    tail = LOG_PATH.read_text(encoding="utf-8").splitlines()[-12:]
    fail(
        f"`{' '.join(command[:4])} ...` ended with {code}:\n    " + "\n    ".join(tail),
        f"The whole log: {LOG_PATH}. What is done stays done: run the same command again.",
    )


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    with (CACHE_DIR / "bootstrap.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    print(f"[{time.monotonic() - STARTED_AT:6.1f} s] {text}", flush=True)


def fail(problem: str, cure: str) -> None:
    print(f"\nfileflux: {problem}\n  {cure}\n", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:] or ["run"])
