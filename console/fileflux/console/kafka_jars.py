"""Kafka's jars: named by Maven coordinates, locked by SHA-256, kept in one cache directory.

`jgo` brings the files, this module decides whether to believe them. Nothing is resolved at run
time: a new release of a dependency can neither change nor break a running system.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from jgo.maven import MavenContext, PythonResolver

LOCK_PATH: Final = Path(__file__).with_name("kafka.lock")
DOWNLOADS_AT_ONCE: Final = 8
"""Jars are small and many: latency, not bandwidth, is what takes time."""
DOWNLOAD_TRIES_MAX: Final = 3
DOWNLOAD_TIMEOUT_S: Final = 60

SYSTEM_CA_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine.
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL.
    "/etc/ssl/ca-bundle.pem",  # openSUSE.
)

Progress = Callable[[int, int], None]
"""Called with (jars present, jars wanted) as they arrive."""


class KafkaJarsUnavailable(RuntimeError):
    """The jars are neither cached nor could they be fetched as locked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedJar:
    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinates(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


def kafka_classpath(cache_dir: Path, *, on_progress: Progress | None = None) -> list[Path]:
    """The verified jars, downloading the missing ones. Raises KafkaJarsUnavailable."""
    jars = locked_jars()
    directory = cache_dir / "kafka"
    directory.mkdir(parents=True, exist_ok=True)
    missing = [jar for jar in jars if not is_as_locked(directory / jar.filename, jar)]
    _download_all(missing, directory, partial(_report, on_progress, len(jars)))
    return [directory / jar.filename for jar in jars]


def locked_jars(lock_path: Path = LOCK_PATH) -> list[LockedJar]:
    lines = (line.partition("#")[0].split() for line in lock_path.read_text().splitlines())
    return [_locked_jar(*fields) for fields in lines if fields]


def is_as_locked(path: Path, jar: LockedJar) -> bool:
    """False for a missing, a torn and a foreign file alike: all are cured by a download."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256


def _locked_jar(coordinates: str, digest: str) -> LockedJar:
    group, artifact, version = coordinates.split(":")
    return LockedJar(
        group=group, artifact=artifact, version=version, sha256=digest.removeprefix("sha256:")
    )


def _report(on_progress: Progress | None, wanted: int, missing: int) -> None:
    if on_progress is not None:
        on_progress(wanted - missing, wanted)


def _download_all(
    jars: Sequence[LockedJar], directory: Path, on_missing: Callable[[int], None]
) -> None:
    if not jars:
        return
    with (
        _system_trust(),
        tempfile.TemporaryDirectory(prefix="incoming-", dir=directory) as incoming,
        ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as threads,
    ):
        fetch = partial(_download, directory=directory, incoming=Path(incoming))
        for done, _ in enumerate(threads.map(fetch, jars), start=1):
            on_missing(len(jars) - done)


@contextmanager
def _system_trust() -> Iterator[None]:
    """Believe the certificate authorities that this machine believes.

    The HTTP library below jgo brings a list of its own, which lacks a company's proxy.
    """
    bundles = [path for path in SYSTEM_CA_BUNDLES if Path(path).is_file()]
    if "REQUESTS_CA_BUNDLE" in os.environ or not bundles:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = bundles[0]
    try:
        yield
    finally:
        del os.environ["REQUESTS_CA_BUNDLE"]


def _download(jar: LockedJar, *, directory: Path, incoming: Path) -> None:
    problem: Exception | None = None
    for attempt in range(DOWNLOAD_TRIES_MAX):
        try:
            fetched = _fetch(jar, incoming / f"{attempt}")
        # jgo and the HTTP library below it raise what they like; the cause is kept for the reader.
        except Exception as error:
            problem = error
            continue
        if not is_as_locked(fetched, jar):
            raise KafkaJarsUnavailable(f"{jar.coordinates} is not the file that kafka.lock names")
        fetched.replace(directory / jar.filename)  # Two starts at once: both files are right.
        return
    raise KafkaJarsUnavailable(
        f"cannot fetch {jar.coordinates}: {problem}. The first start needs the network; "
        "later ones use the cache directory."
    ) from problem


def _fetch(jar: LockedJar, repo_cache: Path) -> Path:
    # A directory per try: jgo takes a torn file of an earlier try for a whole one.
    context = MavenContext(
        resolver=PythonResolver(), repo_cache=repo_cache, timeout=DOWNLOAD_TIMEOUT_S
    )
    component = context.project(jar.group, jar.artifact).at_version(jar.version)
    return Path(component.artifact().resolve())


def main() -> None:
    """Fill the cache directory that is named, saying how far it is: `make setup` does."""
    cache_dir = Path(sys.argv[1])
    kafka_classpath(
        cache_dir, on_progress=lambda have, want: print(f"{have} of {want} jars", flush=True)
    )


if __name__ == "__main__":
    main()
