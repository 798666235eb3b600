"""A process that only writes bundles, or checks them: what a power cut test kills.

store_child.py write DIRECTORY FIRST_SEED    prints a seed when its bundle is confirmed
store_child.py check DIRECTORY SEED…         prints `held` or `missing`, a line per seed
"""

import asyncio
import sys
from pathlib import Path

from fileflux.core.bundle_view import check_bundle, memory_reader
from fileflux.core.clock import SystemClock
from fileflux.core.errors import NodeFull, NoSuchBundle
from fileflux.core.telemetry import configure_logging
from fileflux.storage_node.bundle_store import BundleStore
from fileflux.storage_node.opening import open_node
from fileflux.storage_node.samples import sample_bundle
from fileflux.storage_node.settings import NodeSettings

BATCH = 3
LENGTHS = (300, 20_000)


async def main(verb: str, directory: str, *seeds: str) -> None:
    configure_logging(level="WARNING")
    settings = NodeSettings(
        data_dir=Path(directory),
        cluster_secret="c" * 16,
        reserve_bytes=0,
        ballast_bytes=2**20,
        extent_bytes_max=2**20,
    )
    node = await open_node(settings, SystemClock())
    if verb == "write":
        checkpoints = asyncio.create_task(node.store.run_checkpoints())
        await write(node.store, int(seeds[0]))
        checkpoints.cancel()
    else:
        for seed in seeds:
            print("held" if await is_held(node.store, int(seed)) else "missing", flush=True)
    await node.close()


async def write(store: BundleStore, seed: int) -> None:
    while True:
        run = range(seed, seed + BATCH)
        try:
            await store.write([sample_bundle(one, lengths=LENGTHS) for one in run])
        except NodeFull:
            print("full", flush=True)
            return
        for one in run:
            print(one, flush=True)
        seed += BATCH


async def is_held(store: BundleStore, seed: int) -> bool:
    bundle = sample_bundle(seed, lengths=LENGTHS)
    try:
        stored = await store.open(bundle.bundle_id)
    except NoSuchBundle:
        return False
    raw = await stored.read(0, stored.view.header.size)
    check_bundle(memory_reader(raw))
    return bytes(raw) == bytes(bundle.data)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
