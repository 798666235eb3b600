"""Kafka and the database of the local system: ours, or those that the environment names."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Final

from fileflux.console.cockroach_server import CockroachServer, cockroach_binary
from fileflux.console.data_dir import Credentials, DataDir
from fileflux.console.kafka_jars import kafka_classpath
from fileflux.console.kafka_server import KafkaServer
from fileflux.console.local_server import ServerNotStopped, Wait
from fileflux.console.postgres_server import PostgresServer
from fileflux.console.services import Backends, ClusterOptions
from fileflux.console.steps import OnStep, Step, step

BACKEND_PORTS: Final = ("kafka", "kafka-controller", "postgres", "cockroach-http")
RESTART_AFTER_S: Final = 0.5
REMEMBER_S: Final = 0.1


class BackendServers:
    """Starts what was not given; knows nothing about FileFlux's own services."""

    def __init__(self, options: ClusterOptions, data: DataDir, *, wait: Wait = time.sleep) -> None:
        """`wait`: how starts wait; what it raises ends them."""
        self._options = options
        self._data = data
        self._wait = wait
        self.kafka: KafkaServer | None = None
        self.postgres: PostgresServer | None = None
        self.cockroach: CockroachServer | None = None
        self._died_at: dict[str, float] = {}

    def start(
        self,
        credentials: Credentials,
        on_step: OnStep,
        *,
        ports: Mapping[str, int],
        remember: Callable[[], None],
    ) -> Backends:
        """Both at once: each waits for its own disk and its own start-up.

        `ports`: one for each of BACKEND_PORTS. `remember`: called again and again meanwhile, to
        note `pids()`. Whoever kills us during these seconds leaves servers that the next start
        must find.
        """
        self._make(credentials, ports)
        self._fetch(on_step)
        with ThreadPoolExecutor(2) as pool:
            kafka = pool.submit(self._start_kafka, on_step)
            database = pool.submit(self._start_database, on_step)
            while wait((kafka, database), timeout=REMEMBER_S).not_done:
                remember()
            return Backends(kafka_bootstrap_servers=kafka.result(), database_url=database.result())

    def _make(self, credentials: Credentials, ports: Mapping[str, int]) -> None:
        if not self._options.kafka_bootstrap_servers:
            self.kafka = KafkaServer(
                self._data.root / "kafka",
                cache_dir=self._options.cache_dir,
                port=ports["kafka"],
                controller_port=ports["kafka-controller"],
                wait=self._wait,
            )
        if not self._options.database_url:
            self._make_database(credentials, ports)

    def _make_database(self, credentials: Credentials, ports: Mapping[str, int]) -> None:
        """CockroachDB where there is a binary, unless this directory began with PostgreSQL."""
        postgres_dir, binary = self._data.root / "postgres", cockroach_binary()
        if binary and not postgres_dir.exists():
            self.cockroach = CockroachServer(
                self._data.root / "cockroach",
                binary=binary,
                port=ports["postgres"],
                http_port=ports["cockroach-http"],
                wait=self._wait,
            )
            return
        self.postgres = PostgresServer(
            postgres_dir,
            port=ports["postgres"],
            password=credentials.postgres_password,
            wait=self._wait,
        )

    def _fetch(self, on_step: OnStep) -> None:
        if self.kafka is None:
            return
        with step("Kafka's jars", on_step):
            kafka_classpath(self._options.cache_dir, on_progress=partial(self._fetched, on_step))

    def _fetched(self, on_step: OnStep, have: int, want: int) -> None:
        self._wait(0.0)
        on_step(Step("Kafka's jars", "progress", detail=f"{have}/{want}"))

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

    def ours(self) -> dict[str, KafkaServer | PostgresServer | CockroachServer]:
        """Those that we start, by name."""
        found = {"kafka": self.kafka, "postgres": self.postgres, "cockroach": self.cockroach}
        return {name: server for name, server in found.items() if server is not None}

    def pids(self) -> dict[str, int]:
        """Of the servers that are ours."""
        return {name: server.pid for name, server in self.ours().items() if server.pid is not None}

    def tend(self) -> list[str]:
        """Start again what died by itself."""
        restarted = []
        for name, server in self.ours().items():
            if server.is_running:
                self._died_at.pop(name, None)
            elif time.monotonic() - self._first_seen_dead(name) > RESTART_AFTER_S:
                server.start()
                restarted.append(name)
        return restarted

    def _first_seen_dead(self, name: str) -> float:
        return self._died_at.setdefault(name, time.monotonic())

    def stop(self) -> None:
        """All at once: one that does not stop keeps no other running. Raise ServerNotStopped."""
        with ThreadPoolExecutor(2) as pool:
            stopping = {name: pool.submit(server.stop) for name, server in self.ours().items()}
        problems = [f"{name}: {e}" for name, one in stopping.items() if (e := one.exception())]
        if problems:
            raise ServerNotStopped("cannot stop " + "; ".join(problems))
