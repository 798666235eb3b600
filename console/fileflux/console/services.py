"""Which processes make up FileFlux on one machine, and the environment that each is given."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fileflux.console.data_dir import Credentials, DataDir
from fileflux.console.processes import ManagedProcess

PASSED_ON: Final = ("FILEFLUX_", "KAFKA_", "OTEL_")
"""Beginnings of the variables that services get from a person's environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """What a person may choose. `port` 0 takes free ones; `extra_env` reaches every service.

    `classes` empty: R=3, W=2 with three or more nodes, fewer otherwise (as placement decides).
    """

    data_dir: Path
    cache_dir: Path
    port: int = 9000
    host: str = "127.0.0.1"
    nodes: int = 3
    workers: int = 1
    kafka_bootstrap_servers: str = ""
    database_url: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    failpoints: bool = False
    extra_env: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backends:
    """Where Kafka and the database answer."""

    kafka_bootstrap_servers: str
    database_url: str


def service_names(options: ClusterOptions) -> list[str]:
    """In the order in which they start."""
    nodes = [f"node-{number}" for number in range(1, options.nodes + 1)]
    return [*nodes, "placement", "materializer", "sequencer", "webhooks", "ingest"]


def make_services(
    options: ClusterOptions,
    data: DataDir,
    *,
    credentials: Credentials,
    backends: Backends,
    ports: Mapping[str, int],
) -> dict[str, ManagedProcess]:
    """Every service by name, not started. `ports`: the port of each node, `ingest`, `internal`."""
    common = common_env(options, credentials, backends)
    return {
        name: ManagedProcess(
            name=name,
            argv=_argv(name),
            env={**common, **_own_env(name, options, data, ports), **options.extra_env},
            log_path=data.logs / f"{name}.log",
            ready_path=data.run / f"{name}.json",
        )
        for name in service_names(options)
    }


def common_env(
    options: ClusterOptions, credentials: Credentials, backends: Backends
) -> dict[str, str]:
    """Nothing of the person's environment but what a Python program needs to start."""
    kept = {
        name: value
        for name in ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "PYTHONPATH")
        if (value := os.environ.get(name))
    }
    kept.update({k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)})
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "KAFKA_BOOTSTRAP_SERVERS": backends.kafka_bootstrap_servers,
        "DATABASE_URL": backends.database_url,
        "FILEFLUX_CLUSTER_SECRET": credentials.cluster_secret,
        "FILEFLUX_MASTER_KEY": credentials.master_key,
        "FILEFLUX_ROOT_ACCESS_KEY": credentials.root_access_key,
        "FILEFLUX_ROOT_SECRET_KEY": credentials.root_secret_key,
        "FILEFLUX_CLASSES": kept.get("FILEFLUX_CLASSES", _classes(options.nodes)),
    }


def _classes(nodes: int) -> str:
    standard = "STANDARD:3:2" if nodes >= 3 else f"STANDARD:{nodes}:{nodes}"
    return f"{standard},SINGLE:1:1"


def _argv(name: str) -> Sequence[str]:
    python = [sys.executable, "-m"]
    if name in ("materializer", "sequencer"):
        return [*python, "fileflux.metadata", name]
    module = "storage_node" if name.startswith("node-") else name
    return [*python, f"fileflux.{module}"]


def _own_env(
    name: str, options: ClusterOptions, data: DataDir, ports: Mapping[str, int]
) -> dict[str, str]:
    env: dict[str, str] = {}
    if options.failpoints:
        env["FILEFLUX_FAILPOINTS_FILE"] = str(data.run / f"{name}.failpoints")
    if name.startswith("node-"):
        number = name.removeprefix("node-")
        env["FILEFLUX_NODE_DATA_DIR"] = str(data.root / "nodes" / number)
        env["FILEFLUX_NODE_PORT"] = str(ports[name])
        env["FILEFLUX_NODE_DOMAIN"] = f"local/rack-{number}/{name}"
    elif name == "ingest":
        env["FILEFLUX_INGEST_HOST"] = options.host
        env["FILEFLUX_INGEST_PORT"] = str(ports["ingest"])
        env["FILEFLUX_INGEST_INTERNAL_PORT"] = str(ports["internal"])
        env["FILEFLUX_INGEST_METRICS_PORT"] = str(ports["metrics"])
        env["FILEFLUX_INGEST_STAGING_DIR"] = str(data.root / "staging")
        env["FILEFLUX_INGEST_WORKERS"] = str(options.workers)
        env["FILEFLUX_OPS_PORT"] = str(ports["ops"])
        env["FILEFLUX_INGEST_TLS_CERT"] = options.tls_cert
        env["FILEFLUX_INGEST_TLS_KEY"] = options.tls_key
    elif name == "webhooks":
        # Receivers on this machine are what a person who tries it has.
        env["FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS"] = os.environ.get(
            "FILEFLUX_WEBHOOKS_ALLOWED_NETWORKS", "127.0.0.0/8,::1/128"
        )
        # Topics of routes are made here: nobody else would.
        env["FILEFLUX_ROUTES_TOPIC_PARTITIONS"] = os.environ.get(
            "FILEFLUX_ROUTES_TOPIC_PARTITIONS", "4"
        )
        env |= {name: text for name, text in os.environ.items() if name.startswith("AWS_")}
    elif name == "placement":
        env["FILEFLUX_PLACEMENT_DATA_DIR"] = str(data.root / "placement")
    return env
