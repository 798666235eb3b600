"""Kafka and the database of the local system: ours, or those that the environment names."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Final

from fileflux.console.cockroach_server import CockroachServer, cockroach_binary
from fileflux.console.data_dir import Credentials, DataDir
from fileflux.console.kafka_jars import kafka_classpath
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.port_choice import choose_ports
from fileflux.console.postgres_server import PostgresServer
from fileflux.console.services import Backends, ClusterOptions
from fileflux.console.steps import OnStep, Step, step

RESTART_AFTER_S: Final = 0.5
REMEMBER_S: Final = 0.1


class BackendServers:
    """Starts what was not given; knows nothing about FileFlux's own services."""

    def __init__(self, options: ClusterOptions, data: DataDir) -> None:
        self._options = options
        self._data = data
        self.kafka: KafkaServer | None = None
        self.postgres: PostgresServer | None = None
        self.cockroach: CockroachServer | None = None
        self._died_at: dict[str, float] = {}

    def start(
        self, credentials: Credentials, on_step: OnStep, *, remember: Callable[[], None]
    ) -> Backends:
        """Both at once: each waits for its own disk and its own start-up.

        `remember`: called again and again meanwhile, to note `pids()`. Whoever kills us during
        these seconds leaves servers that the next start must find.
        """
        self._make(credentials)
        self._fetch(on_step)
        with ThreadPoolExecutor(2) as pool:
            kafka = pool.submit(self._start_kafka, on_step)
            database = pool.submit(self._start_database, on_step)
            while wait((kafka, database), timeout=REMEMBER_S).not_done:
                remember()
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
            self._make_database(ports["postgres"], credentials)

    def _make_database(self, port: int, credentials: Credentials) -> None:
        """CockroachDB where there is a binary, unless this directory began with PostgreSQL."""
        postgres_dir, binary = self._data.root / "postgres", cockroach_binary()
        if binary and not postgres_dir.exists():
            self.cockroach = CockroachServer(
                self._data.root / "cockroach", binary=binary, port=port
            )
            return
        self.postgres = PostgresServer(
            postgres_dir, port=port, password=credentials.postgres_password
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
        server = self.postgres or self.cockroach
        if server is None:
            return self._options.database_url
        with step("PostgreSQL" if self.postgres else "CockroachDB", on_step):
            server.start()
        return server.dsn

    def _ours(self) -> dict[str, KafkaServer | PostgresServer | CockroachServer]:
        found = {"kafka": self.kafka, "postgres": self.postgres, "cockroach": self.cockroach}
        return {name: server for name, server in found.items() if server is not None}

    def pids(self) -> dict[str, int]:
        """Of the servers that are ours."""
        return {name: server.pid for name, server in self._ours().items() if server.pid is not None}

    def tend(self) -> list[str]:
        """Start again what died by itself."""
        restarted = []
        for name, server in self._ours().items():
            if server.is_running:
                self._died_at.pop(name, None)
            elif time.monotonic() - self._first_seen_dead(name) > RESTART_AFTER_S:
                server.start()
                restarted.append(name)
        return restarted

    def _first_seen_dead(self, name: str) -> float:
        return self._died_at.setdefault(name, time.monotonic())

    def stop(self) -> None:
        """The database first: it is quick; Kafka takes a second or two."""
        for server in (self.postgres, self.cockroach, self.kafka):
            if server is not None:
                server.stop()
