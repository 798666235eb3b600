"""The whole way on a running system: an object is stored, its bucket's webhook is told, signed."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.bench.signing import Account
from tests.fault.s3_client import S3Client
from tests.model.webhook_receiver import VerifyingReceiver, until

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def cluster(server_dir: Path, cache_dir: Path) -> Iterator[Cluster]:
    made = Cluster(
        ClusterOptions(data_dir=server_dir / "hooks", cache_dir=cache_dir, port=0, nodes=1)
    )
    made.start()
    yield made
    made.stop()


def command(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    """Run `fileflux webhook …` as a person would."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fileflux.console.cli", "webhook", *arguments),
            *("--json", "--data-dir", str(cluster.options.data_dir)),
        ],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


async def test_a_put_leads_to_a_signed_delivery(cluster: Cluster) -> None:
    credentials = cluster.credentials
    host = cluster.endpoint.partition("//")[2]
    s3 = S3Client(Account(host, credentials.root_access_key, credentials.root_secret_key))
    async with VerifyingReceiver().running() as receiver:
        assert (await s3.request("PUT", "/photos")).status == 200
        made = await asyncio.to_thread(
            command, cluster, "create", "photos", receiver.url, "--suffix", ".jpg"
        )
        receiver.secret = made["secret"]
        tested = await asyncio.to_thread(command, cluster, "test", made["webhook"])
        assert tested["status"] == 204
        started_s = time.monotonic()
        for name in ("a.jpg", "b.txt", "c d.jpg"):
            answer = await s3.request("PUT", f"/photos/{name}", body=b"x")
            assert answer.status == 200
        await until(lambda: len(receiver.taken) == 2)
        took_s = time.monotonic() - started_s
        assert sorted(key for _, key, _ in receiver.taken) == ["a.jpg", "c+d.jpg"]
        shown = await asyncio.to_thread(command, cluster, "show", made["webhook"])
        assert (shown["state"], shown["waiting"], shown["dead"]) == ("active", 0, 0)
        attempts = await asyncio.to_thread(command, cluster, "attempts", made["webhook"])
        assert {one["status"] for one in attempts["webhooks"]} == {204}
    await s3.close()
    print(f"two objects stored and told in {took_s:.2f} s")
