"""The whole system on one machine: real Kafka, real PostgreSQL, every service its own process.

`fileflux dev`, `make demo` and the tests that break things all run this one class, so that what
the tests prove is what a person starts.
"""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Final

from fileflux.console.backends import BACKEND_PORTS, BackendServers
from fileflux.console.data_dir import DataDir
from fileflux.console.interruption import Interrupted
from fileflux.console.local_server import ServerNotStopped, Wait
from fileflux.console.port_choice import ReservedPorts
from fileflux.console.processes import ManagedProcess, ProcessList
from fileflux.console.services import (
    Backends,
    ClusterOptions,
    common_env,
    make_services,
    service_names,
)
from fileflux.console.steps import OnStep, Step, ignore_steps, step
from fileflux.console.wiring import Surroundings, write_surroundings
from fileflux.core.service import EXIT_SETTINGS

READY_TIMEOUT_S: Final = 90.0
STOP_TIMEOUT_S: Final = 35.0
POLL_S: Final = 0.05
HEALTH_TIMEOUT_S: Final = 2.0
STARTS_MAX: Final = 3
"""A service that ends this often while it starts will not start."""
OWN_PORTS: Final = ("ingest", "internal", "metrics", "ops")


class ClusterFailed(Exception):
    """Something did not start. The message says what, and where its log is."""


class Cluster:
    """Start, watch, hurt and stop the services. Synchronous: it only waits for others."""

    def __init__(
        self,
        options: ClusterOptions,
        on_step: OnStep = ignore_steps,
        *,
        wait: Wait = time.sleep,
    ) -> None:
        """`wait`: how it waits for others; raises Interrupted when nobody wants it any more."""
        self.options = options
        self._on_step = on_step
        self._wait = wait
        self.data = DataDir(options.data_dir)
        self.servers = BackendServers(options, self.data, wait=wait)
        self.services: dict[str, ManagedProcess] = {}
        self.ports: dict[str, int] = {}
        self.backends = Backends(kafka_bootstrap_servers="", database_url="")
        self._list = ProcessList(self.data.run / "processes.json")
        self._reserved = ReservedPorts()
        self._restart_at: dict[str, float] = {}

    @property
    def endpoint(self) -> str:
        return f"{self.options.scheme}://{self.options.host}:{self.ports['ingest']}"

    def start(self) -> None:
        """Return when every service is ready; raise with everything stopped again otherwise."""
        self.data.open()
        try:
            self._stop_leftovers()
            self._start_all()
        except BaseException as error:
            self._give_up(error)
            raise

    def _give_up(self, error: BaseException) -> None:
        """Nobody was told where we are: nothing is in flight that had to settle."""
        try:
            self.stop(at_once=isinstance(error, Interrupted))
        except ServerNotStopped as left:
            error.add_note(str(left))

    def _start_all(self) -> None:
        self.credentials = self.data.credentials()
        self._choose_ports()
        self.backends = self.servers.start(
            self.credentials, self._on_step, ports=self.ports, remember=self._remember
        )
        self._remember()
        write_surroundings(
            self.data.run,
            Surroundings(
                database_url=self.backends.database_url,
                kafka_bootstrap_servers=self.backends.kafka_bootstrap_servers,
                master_key=self.credentials.master_key,
                cluster_secret=self.credentials.cluster_secret,
            ),
        )
        with step("metadata schema", self._on_step):
            self._run_once("migrate", [sys.executable, "-m", "fileflux.metadata", "migrate"])
        self.services = make_services(
            self.options,
            self.data,
            credentials=self.credentials,
            backends=self.backends,
            ports=self.ports,
        )
        for service in self.services.values():
            service.start()
        self._remember()
        self._wait_all_ready()
        self._remember()  # Some may have been started twice.

    def _choose_ports(self) -> None:
        nodes = [name for name in service_names(self.options) if name.startswith("node-")]
        self.ports = self._reserved.choose(
            self.data.root / "ports.json",
            [*nodes, *OWN_PORTS, *BACKEND_PORTS],
            fixed={"ingest": self.options.port},
            host=self.options.host,
        )

    def _stop_leftovers(self) -> None:
        left = self._list.stop_leftovers()
        if left:
            self._on_step(Step("leftovers", "ended", detail=f"stopped {', '.join(left)}"))

    def _remember(self) -> None:
        pids = {name: s.pid for name, s in self.services.items() if s.pid is not None}
        self._list.write({**self.servers.pids(), **pids})

    def _run_once(self, name: str, argv: list[str]) -> None:
        env = common_env(self.options, self.credentials, self.backends)
        log_path = self.data.logs / f"{name}.log"
        with log_path.open("ab") as log:
            process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)  # noqa: S603
        try:
            while process.poll() is None:
                self._wait(POLL_S)
        finally:
            process.kill()  # A no-op when it has ended.
            process.wait()
        if process.returncode != 0:
            raise ClusterFailed(
                f"{name} failed:\n{_tail(log_path.read_text(errors='replace'))}\nlog: {log_path}"
            )

    def _wait_all_ready(self) -> None:
        with ThreadPoolExecutor(len(self.services)) as pool:
            list(pool.map(self._wait_with_step, self.services))

    def _wait_with_step(self, name: str) -> None:
        with step(name, self._on_step):
            self.wait_ready(name)

    def wait_ready(self, name: str, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when the service announced its ports and says that it is ready.

        Services end when the broker or the database misses a deadline at their start, and count on
        being started again: so they are, within reason.
        """
        service = self.services[name]
        starts_max = service.starts + STARTS_MAX - 1
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if service.exit_code is not None:
                _start_again(service, starts_max)
            if self.health(name, "ready") is None:
                return
            self._wait(POLL_S)
        raise ClusterFailed(
            f"{name} was not ready after {timeout_s:.0f} s ({self.health(name, 'ready')}).\n"
            f"{service.last_lines()}\nlog: {service.log_path}"
        )

    def health(self, name: str, check: str) -> str | None:
        """None when the check passes, else what it said."""
        port = self.services[name].ports().get("ops")
        if port is None:
            return "starting"
        return ask_health(f"http://127.0.0.1:{port}/health/{check}")

    def restart(self, name: str) -> None:
        """kill -9 if it runs, start it again and wait until it is ready."""
        self.services[name].kill()
        self.services[name].start()
        self._remember()
        self.wait_ready(name)

    def tend(self) -> list[str]:
        """Start again what died, half a second after it did; return the names."""
        restarted = []
        now = time.monotonic()
        for name, service in self.services.items():
            if service.is_running:
                self._restart_at.pop(name, None)
            elif now >= self._restart_at.setdefault(name, now + 0.5):
                service.start()
                restarted.append(name)
        restarted.extend(self.servers.tend())
        if restarted:
            self._remember()
        return restarted

    def stop(self, *, at_once: bool = False) -> None:
        """Ingest first, so that what is in flight settles; no process is left behind.

        `at_once` kills the services. Raise ServerNotStopped, with everything else stopped.
        """
        order = ["ingest", "webhooks", "sequencer", "materializer", "placement"]
        rest = [name for name in self.services if name not in order]
        for names in (order[:1], order[1:], rest):
            stopping = [self.services[name] for name in names if name in self.services]
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for service in stopping:
                service.signal(9 if at_once else 15)
            for service in stopping:
                service.wait_stopped(deadline)
        try:
            self.servers.stop()
        finally:
            self._list.write(self.servers.pids())  # The next start stops who is left.
            self._reserved.release()
            self.data.close()


def _start_again(service: ManagedProcess, starts_max: int) -> None:
    """Give it another chance; raise ClusterFailed when there is no point in that."""
    if service.exit_code == EXIT_SETTINGS or service.starts >= starts_max:
        raise ClusterFailed(
            f"{service.name} ended with {service.exit_code}:\n{service.last_lines()}\n"
            f"log: {service.log_path}"
        )
    service.start()


def ask_health(url: str) -> str | None:
    """None for a 200, else one line about why not. Whoever answers there may not be ours."""
    try:
        with urllib.request.urlopen(url, timeout=HEALTH_TIMEOUT_S) as answer:  # noqa: S310  # Ours.
            answer.read()
            return None
    except urllib.error.HTTPError as error:
        return _problem(error)
    except (OSError, ValueError, HTTPException) as error:
        return f"does not answer ({error!r})"


def _problem(answer: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(answer.read())["problem"])
    except (OSError, ValueError, HTTPException, KeyError, TypeError):
        return f"failing ({answer.code})"


def _tail(text: str, count: int = 8) -> str:
    return "\n".join(text.splitlines()[-count:])


def describe(cluster: Cluster) -> Mapping[str, object]:
    """What a script needs: endpoint, credentials, ports and pids."""
    return {
        "endpoint": cluster.endpoint,
        "access_key": cluster.credentials.root_access_key,
        "secret_key": cluster.credentials.root_secret_key,
        "data_dir": str(cluster.data.root),
        "kafka_bootstrap_servers": cluster.backends.kafka_bootstrap_servers,
        "services": {
            name: {"pid": service.pid, "ports": service.ports()}
            for name, service in cluster.services.items()
        },
    }
