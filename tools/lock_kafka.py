"""Resolve Kafka's jars once and write console/fileflux/console/kafka.lock.

Run by hand when Kafka moves to a new release (`make lock`); a person reads the difference.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Final

from jgo.maven import MavenContext, PythonResolver

from fileflux.console.kafka_jars import LOCK_PATH

KAFKA_VERSION: Final = "4.1.2"
ENDPOINT: Final = (
    # The clients are named first and with their version: left to itself the resolver picks an
    # older one that another dependency asks for, and the broker dies at its first request.
    f"org.apache.kafka:kafka-clients:{KAFKA_VERSION}",
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    # Log lines to a file need no more than this; Log4j's start costs half a second of each start.
    "org.slf4j:slf4j-simple:2.0.17",
)
HEADER: Final = """\
# Apache Kafka and what it runs on: Maven coordinates and the SHA-256 of each jar.
# Written by tools/lock_kafka.py; verified at every start by fileflux.console.kafka_jars.
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        context = MavenContext(resolver=PythonResolver(), repo_cache=Path(cache))
        lines = sorted(_lock_line(context, *gav) for gav in _resolve(context))
    LOCK_PATH.write_text(HEADER + "\n".join(lines) + "\n")


def _resolve(context: MavenContext) -> list[tuple[str, str, str]]:
    wanted = [context.create_dependency(coordinates) for coordinates in ENDPOINT]
    inputs, transitive = context.resolver.resolve(wanted)
    return [(dep.groupId, dep.artifactId, dep.version) for dep in [*inputs, *transitive]]


def _lock_line(context: MavenContext, group: str, artifact: str, version: str) -> str:
    path = context.project(group, artifact).at_version(version).artifact().resolve()
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return f"{group}:{artifact}:{version} sha256:{digest}"


if __name__ == "__main__":
    main()
