"""`fileflux salvage` from nodes' real directories, one of them still running, into PostgreSQL."""

import asyncio
import json
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import uvicorn
from tests.contract.test_bundle_store import settings_for
from tests.model.rebuild_world import export, number, records_of
from tests.model.s3_caller import Caller
from tests.model.s3_world import ALICE, ROOT, S3World, open_s3_world
from tests.model.salvage_world import serve

from fileflux.core.clock import SystemClock
from fileflux.core.ids import NodeId
from fileflux.core.model import MIB
from fileflux.core.node_client import NodeClient
from fileflux.core.ops import EmbeddedServer
from fileflux.ingest.memory_pipeline import FixedPlacement
from fileflux.metadata.postgres import PostgresDatabase, PostgresReader, open_connections
from fileflux.storage_node.app import NodeApp
from fileflux.storage_node.bundle_store import IncomingBundle
from fileflux.storage_node.memory_store import MemoryStore
from fileflux.storage_node.opening import OpenNode, open_node

CLOCK: Final = SystemClock()
SECRET: Final = "a secret of the cluster"
OBJECTS: Final = {
    "small": b"0123456789",
    "again": b"the second one",
    "large": random.Random(1).randbytes(9 * MIB),
}


class Urls(FixedPlacement):
    """Where the nodes really answer."""

    def __init__(self, urls: Mapping[NodeId, str]) -> None:
        super().__init__(list(urls))
        self._urls = urls

    def node_url(self, node_id: NodeId) -> str | None:
        return self._urls.get(node_id)


async def fill(directory: Path, store: MemoryStore) -> NodeId:
    """Let a storage node on disk write what one in memory holds, and end."""
    node = await open_node(settings_for(directory), CLOCK)
    for item in await store.inventory(None, 1_000):
        held = await store.open(item.bundle_id)
        await node.store.write([IncomingBundle(held.data, held.view)])
    await node.close()
    return node.node_id


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[str]:
    """Run a node's HTTP API on its directory; yield its address."""
    node: OpenNode = await open_node(settings_for(directory), CLOCK)
    app = NodeApp(
        node.store, secret=SECRET.encode(), clock=CLOCK, epoch=node.epoch, fence=node.fence
    )
    server = EmbeddedServer(
        uvicorn.Config(app, host="127.0.0.1", port=0, access_log=False, log_config=None)
    )
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()
        await node.close()


async def empty_database(admin_dsn: str) -> str:
    name = f"salvaged_{uuid.uuid4().hex}"
    connection = await asyncpg.connect(admin_dsn)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return urlunsplit(urlsplit(admin_dsn)._replace(path=f"/{name}"))


async def fileflux(directory: Path, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fileflux.console.cli", *arguments),
        cwd=directory,
        env={**os.environ, "FILEFLUX_CLUSTER_SECRET": SECRET},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def upload(world: S3World) -> Caller:
    alice = Caller(world.app, ALICE)
    assert (await alice("PUT", "/photos")).status == 200
    for key, body in [("again", b"the first one"), *OBJECTS.items()]:
        put = await alice("PUT", f"/photos/{key}", {"x-amz-meta-n": key}, body)
        assert put.status == 200
    return alice


async def test_lost_database_and_broker_every_object_is_served_from_what_the_nodes_tell(
    tmp_path: Path, postgres_admin_dsn: str
) -> None:
    """Nodes alone; then nodes behind an export that knows of a deletion and of users."""
    directories = [tmp_path / f"node-{n}" for n in range(3)]
    into, behind = [await empty_database(postgres_admin_dsn) for _ in range(2)]
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(open_s3_world())
        alice = await upload(world)
        await alice("PUT", "/photos/gone", {}, b"deleted before the end of the export")
        await alice("DELETE", "/photos/gone")
        await number(world.database, world.reader)
        stream = export(tmp_path / "audit.jsonl", await records_of(world.reader))
        await alice("PUT", "/photos/late", {}, b"not in the export")
        stores = world.nodes.stores.values()
        ids = [await fill(d, s) for d, s in zip(directories, stores, strict=True)]
        urls = {
            node_id: await stack.enter_async_context(running(directory))
            for node_id, directory in zip(ids, directories, strict=True)
        }
        nodes = ("--node", f"{ids[0]}={urls[ids[0]]}", "--check-data", "--json")
        dead = [w for d in directories[1:] for w in ("--node-dir", str(d))]
        count = await told(tmp_path, "--into", into, *nodes, *dead)
        late = await told(tmp_path, "--into", behind, "--from-file", str(stream), *nodes, *dead)

        assert (count["objects"], count["buckets"]) == (len(OBJECTS) + 2, 1)
        assert count["findings"] == {"superseded": 1, "class_unknown": 1}
        assert len(set(count["nodes"].values())) == 1
        assert (late["objects"], late["findings"]) == (1, {"class_unknown": 1})
        reading = NodeClient(SECRET.encode(), CLOCK)
        stack.push_async_callback(reading.close)
        expected = {**OBJECTS, "late": b"not in the export"}
        gone = {"gone": b"deleted before the end of the export"}
        for dsn, user, bodies in (
            (into, ROOT, {**expected, **gone}),
            (behind, ALICE, expected),
        ):
            connections = await open_connections(dsn, size_max=4)
            stack.push_async_callback(connections.close)
            app = await serve(
                world,
                PostgresDatabase(connections, rng=random.Random(1)),
                PostgresReader(connections),
                nodes=reading,
                placement=Urls(urls),
            )
            caller = Caller(app, user)
            listed = (await caller("GET", "/photos?list-type=2")).texts("Contents/Key")
            assert listed == sorted(bodies)
            for key, body in bodies.items():
                got = await caller("GET", f"/photos/{key}")
                assert (got.status, got.body) == (200, body), key
            assert (await caller("GET", "/photos/large")).headers["x-amz-meta-n"] == "large"


async def told(directory: Path, *arguments: str) -> dict[str, Any]:
    code, out, err = await fileflux(directory, "salvage", *arguments)
    assert code == 0, err
    assert "written; it ends at 2" in err
    answer: dict[str, Any] = json.loads(out)
    details = directory / answer["details"]
    assert len(details.read_text().splitlines()) == sum(answer["findings"].values())
    return answer
