"""Clients as their users have them, against a running FileFlux, by HTTP and by HTTPS.

They are programs in an environment of their own (`make clients`), driven as programs; nothing of
them is imported. `FILEFLUX_TEST_ENDPOINT` names a system to use; otherwise one is started.
"""

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.clients.programs import CLIENTS, Client, Endpoint, Programs, find_programs
from tools.with_cluster import make_certificate

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions

ROOT: Final = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("clients")
            item.add_marker("cluster")
            item.add_marker("slow")


@pytest.fixture(scope="session")
def programs() -> Programs:
    found = find_programs(ROOT)
    if isinstance(found, str):
        pytest.skip(f"{found} is not there: run `make clients`")
    return found


@pytest.fixture(scope="session", params=["http", "https"])
def endpoint(
    request: pytest.FixtureRequest, programs: Programs, cache_dir: Path
) -> Iterator[Endpoint]:
    scheme: str = request.param
    if given := os.environ.get("FILEFLUX_TEST_ENDPOINT"):
        if not given.startswith(f"{scheme}://"):
            pytest.skip(f"FILEFLUX_TEST_ENDPOINT is not {scheme}")
        yield Endpoint(
            given,
            os.environ["FILEFLUX_TEST_ACCESS_KEY"],
            os.environ["FILEFLUX_TEST_SECRET_KEY"],
            os.environ.get("FILEFLUX_TEST_CA", ""),
        )
        return
    with tempfile.TemporaryDirectory(prefix="fileflux-") as name:
        yield from _started(Path(name), scheme, cache_dir)


def _started(directory: Path, scheme: str, cache_dir: Path) -> Iterator[Endpoint]:
    directory.chmod(0o755)  # As root, PostgreSQL runs as somebody else.
    tls: dict[str, Any] = {}
    if scheme == "https":
        cert, key = make_certificate(directory)
        tls = {"tls_cert": str(cert), "tls_key": str(key)}
    options = ClusterOptions(
        data_dir=directory / "data",
        cache_dir=cache_dir,
        port=0,
        kafka_bootstrap_servers=os.environ.get("KAFKA_BOOTSTRAP_SERVERS", ""),
        database_url=os.environ.get("DATABASE_URL", ""),
        **tls,
    )
    cluster = Cluster(options)
    cluster.start()
    try:
        keys = cluster.credentials
        yield Endpoint(
            cluster.endpoint, keys.root_access_key, keys.root_secret_key, tls.get("tls_cert", "")
        )
    finally:
        cluster.stop()


@pytest.fixture(params=CLIENTS, ids=lambda client: client.__name__)
def client(
    request: pytest.FixtureRequest, endpoint: Endpoint, programs: Programs, tmp_path: Path
) -> Client:
    made: Client = request.param(endpoint, programs, tmp_path / "home")
    return made


@pytest.fixture
def bucket(client: Client) -> Iterator[str]:
    """A fresh bucket, made and removed by the client itself."""
    name = f"client-{uuid.uuid4().hex[:16]}"
    client.make_bucket(name)
    yield name
    client.remove_bucket(name)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory of files of many sizes and names."""
    root = tmp_path / "tree"
    for name, size in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_content(name, size))
    return root


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(_content("large", LARGE_BYTES))
    return path


FILES: Final = {
    "empty": 0,
    "one byte.txt": 1,
    "deep/er/and deeper/file.bin": 70_000,
    "ünïcödé/日本 語.txt": 5_000,
    "plus+and%percent&amp;'quote'.txt": 300,
    "a..b/c.~d": 10,
    "one MiB and one": (1 << 20) + 1,
}
LARGE_BYTES: Final = 20 * (1 << 20) + 12_345
"""Above what each client sends in one piece, where it has such a limit below a hundred MiB."""


def _content(name: str, size: int) -> bytes:
    unit = f"{name} ".encode()
    return (unit * (size // len(unit) + 1))[:size]
