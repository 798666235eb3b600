"""Kafka and the database of the local system: ours, or those that the environment names."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fileflux.console.data_dir import Credentials, DataDir
from fileflux.console.kafka_jars import kafka_classpath
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.port_choice import choose_ports
from fileflux.console.postgres_server import PostgresServer
from fileflux.console.services import Backends, ClusterOptions
from fileflux.console.steps import OnStep, Step, step

RESTART_AFTER_S: Final = 0.5


class BackendServers:
    """Starts what was not given; knows nothing about FileFlux's own services."""

    def __init__(self, options: ClusterOptions, data: DataDir) -> None:
        self._options = options
        self._data = data
        self.kafka: KafkaServer | None = None
        self.postgres: PostgresServer | None = None
        self._died_at: dict[str, float] = {}

    def start(self, credentials: Credentials, on_step: OnStep) -> Backends:
        """Both at once: each waits for its own disk and its own start-up."""
        self._make(credentials)
        self._fetch(on_step)
        with ThreadPoolExecutor(2) as pool:
            kafka = pool.submit(self._start_kafka, on_step)
            database = pool.submit(self._start_database, on_step)
            return Backends(kafka_bootstrap_servers=kafka.result(), database_url=database.result())

    def _make(self, credentials: Credentials) -> None:
        ports = choose_ports(
            self._data.root / "ports.json", ["kafka", "postgres"], fixed={}, host="127.0.0.1"
        )
        if not self._options.kafka_bootstrap_servers:
            self.kafka = KafkaServer(
                self._data.root / "kafka", cache_dir=self._options.cache_dir, port=ports["kafka"]
            )
        if not self._options.database_url:
            self.postgres = PostgresServer(
                self._data.root / "postgres",
                port=ports["postgres"],
                password=credentials.postgres_password,
            )

    def _fetch(self, on_step: OnStep) -> None:
        if self.kafka is None:
            return
        with step("Kafka's jars", on_step):
            kafka_classpath(
                self._options.cache_dir,
                on_progress=lambda have, want: on_step(
                    Step("Kafka's jars", "progress", detail=f"{have}/{want}")
                ),
            )

    def _start_kafka(self, on_step: OnStep) -> str:
        if self.kafka is None:
            return self._options.kafka_bootstrap_servers
        with step("Kafka", on_step):
            self.kafka.start()
        return self.kafka.bootstrap_servers

    def _start_database(self, on_step: OnStep) -> str:
        if self.postgres is None:
            return self._options.database_url
        with step("PostgreSQL", on_step):
            self.postgres.start()
        return self.postgres.dsn

    def pids(self) -> dict[str, int]:
        """Of the servers that are ours."""
        ours = {"kafka": self.kafka, "postgres": self.postgres}
        return {
            name: server.pid
            for name, server in ours.items()
            if server is not None and server.pid is not None
        }

    def tend(self) -> list[str]:
        """Start again what died by itself."""
        restarted = []
        for name, server in (("kafka", self.kafka), ("postgres", self.postgres)):
            if server is None or server.is_running:
                self._died_at.pop(name, None)
                continue
            if (
                time.monotonic() - self._died_at.setdefault(name, time.monotonic())
                > RESTART_AFTER_S
            ):
                server.start()
                restarted.append(name)
        return restarted

    def stop(self) -> None:
        """The database first: it is quick; Kafka takes a second or two."""
        for server in (self.postgres, self.kafka):
            if server is not None:
                server.stop()


def cockroach_binary() -> str | None:
    """A `cockroach` on PATH, used instead of PostgreSQL where there is one."""
    return shutil.which("cockroach")
