"""`fileflux dev | demo | run | doctor | version`: the system on one machine."""

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final

import typer

from fileflux.console.command_help import DEFAULT_DATA_DIR, AsJson, DataDir
from fileflux.console.services import ClusterOptions

SERVICES: Final = {
    "ingest": ["fileflux.ingest"],
    "placement": ["fileflux.placement"],
    "storage-node": ["fileflux.storage_node"],
    "materializer": ["fileflux.metadata", "materializer"],
    "sequencer": ["fileflux.metadata", "sequencer"],
    "archiver": ["fileflux.metadata", "archiver"],
    "webhooks": ["fileflux.webhooks"],
    "migrate": ["fileflux.metadata", "migrate"],
}

DataDirOption = Annotated[
    Path, typer.Option("--data-dir", help="Where everything is kept. Made if it is missing.")
]
CacheDirOption = Annotated[
    Path,
    typer.Option(
        "--cache-dir", envvar="FILEFLUX_CACHE_DIR", help="Where downloads (Kafka's jars) are kept."
    ),
]


def dev(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    cache_dir: CacheDirOption = Path(".cache"),
    port: Annotated[int, typer.Option(help="S3 port; 0 picks free ones.", min=0, max=65535)] = 9000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    nodes: Annotated[int, typer.Option(help="Storage nodes.", min=1, max=16)] = 3,
    workers: Annotated[int, typer.Option(help="Ingest processes.", min=1, max=16)] = 1,
    tls_cert: Annotated[str, typer.Option(help="Certificate chain (PEM): serve HTTPS.")] = "",
    tls_key: Annotated[str, typer.Option(help="The certificate's private key (PEM).")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print endpoint, keys and ports as one JSON line.")
    ] = False,
) -> None:
    """Run the whole system in the foreground: Kafka, PostgreSQL and every service.

    The data stays in --data-dir; the next start finds it. Ctrl-C stops everything. Given
    KAFKA_BOOTSTRAP_SERVERS or DATABASE_URL in the environment, those are used instead.

    Example: fileflux dev

    Example: fileflux dev --data-dir /var/tmp/fileflux --port 0 --json
    """
    from fileflux.console.dev import run_dev

    options = cluster_options(
        data_dir=data_dir,
        cache_dir=cache_dir,
        port=port,
        host=host,
        nodes=nodes,
        workers=workers,
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
    raise typer.Exit(run_dev(options, as_json=as_json))


def demo(
    data_dir: DataDirOption = Path("fileflux-demo"),
    cache_dir: CacheDirOption = Path(".cache"),
    source: Annotated[
        Path | None, typer.Option(help="Directory to store; the Python installation by default.")
    ] = None,
    client_python: Annotated[
        Path | None, typer.Option(help="A Python that has boto3: the unmodified S3 client.")
    ] = None,
    size_mib_max: Annotated[
        int, typer.Option(help="Stop adding files from the source at this many MiB.", min=1)
    ] = 400,
    files_max: Annotated[int, typer.Option(help="Stop adding files at this many.", min=1)] = 2500,
    endpoint: Annotated[
        str, typer.Option(help="A FileFlux that runs already: nothing is started then.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON line; the rest to stderr.")
    ] = False,
) -> None:
    """Start the system, store a directory of real files, fetch it back, compare every byte.

    The last line says: demo: N files, B bytes, 0 differences, S seconds. Any difference ends it
    with 1.

    With --endpoint it speaks to a running system as root, whose keys FILEFLUX_ROOT_ACCESS_KEY and
    FILEFLUX_ROOT_SECRET_KEY give (or the files that FILEFLUX_ROOT_…_KEY_FILE name).

    Example: fileflux demo --source /usr/share/doc --size-mib-max 50

    Example: fileflux demo --endpoint http://127.0.0.1:9000 --size-mib-max 20
    """
    from fileflux.console.demo import run_demo
    from fileflux.console.demo_remote import run_remote_demo
    from fileflux.console.demo_result import DemoLimits
    from fileflux.core.settings import SettingsInvalid

    limits = DemoLimits(bytes_max=size_mib_max << 20, files_max=files_max)
    python = client_python or Path(sys.executable)
    if endpoint:
        try:
            code = run_remote_demo(
                endpoint, source=source, client_python=python, limits=limits, as_json=as_json
            )
        except SettingsInvalid as error:
            typer.echo(error, err=True)
            raise typer.Exit(2) from None
        raise typer.Exit(code)
    options = cluster_options(data_dir=data_dir, cache_dir=cache_dir, port=0)
    raise typer.Exit(
        run_demo(options, source=source, client_python=python, limits=limits, as_json=as_json)
    )


def run(
    service: Annotated[str, typer.Argument(help="One of: " + ", ".join(SERVICES))],
) -> None:
    """Run one service in the foreground; it is configured by its environment.

    The same as `python -m fileflux.<service>`. Settings: docs/reference/settings.md. Ends as the
    service does: 0 after SIGTERM, 1 when it has to be started again, 2 when its settings are wrong.

    Example: fileflux run materializer

    Example: fileflux run migrate
    """
    if service not in SERVICES:
        typer.echo(f"no such service: {service}. There are: {', '.join(SERVICES)}", err=True)
        raise typer.Exit(2)
    os.execv(sys.executable, [sys.executable, "-m", *SERVICES[service]])  # noqa: S606  # Our own.


def doctor(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Check topics, database, clock, disk, versions and lag; say what to do about each finding.

    Reads KAFKA_BOOTSTRAP_SERVERS and DATABASE_URL, or asks the `dev` that runs on --data-dir.
    Changes nothing. Any error among the findings ends it with 1; warnings do not.

    Example: fileflux doctor --json
    """
    from fileflux.console.doctor import run_doctor

    raise typer.Exit(run_doctor(data_dir, as_json=as_json))


def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: fileflux version
    """
    found = metadata.version("fileflux")
    typer.echo(json.dumps({"version": found}) if as_json else found)


def cluster_options(
    *,
    data_dir: Path,
    cache_dir: Path,
    port: int,
    host: str = "127.0.0.1",
    nodes: int = 3,
    workers: int = 1,
    tls_cert: str = "",
    tls_key: str = "",
) -> ClusterOptions:
    return ClusterOptions(
        data_dir=data_dir,
        cache_dir=cache_dir,
        port=port,
        host=host,
        nodes=nodes,
        workers=workers,
        kafka_bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
        database_url=os.environ.get("DATABASE_URL", ""),
        tls_cert=tls_cert,
        tls_key=tls_key,
    )
