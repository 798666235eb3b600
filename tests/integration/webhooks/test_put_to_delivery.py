"""The whole way on a running system: an object is stored, its bucket's webhook is told, signed."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.bench.signing import Account
from tests.fault.s3_client import S3Client
from tests.model.otlp_receiver import OtlpReceiver, is_connected
from tests.model.webhook_receiver import VerifyingReceiver, until

from fileflux.console.cluster import Cluster
from fileflux.console.services import ClusterOptions
from fileflux.events.topics import (
    AUDIT,
    BUNDLES_ASSIGNED,
    BUNDLES_COMMITTED,
    UPLOADS_COMPLETED,
    UPLOADS_SEALED,
)

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SERVICES = {"ingest", "storage-node", "materializer", "sequencer", "webhooks"}
STEPS = {
    "PutObject", "flush bundle", "stage bundle", f"send {BUNDLES_ASSIGNED}",
    f"process {BUNDLES_ASSIGNED}", "pull bundle", "GET staged bundle", "append and sync",
    f"send {BUNDLES_COMMITTED}", f"send {UPLOADS_SEALED}", "commit seals",
    f"send {UPLOADS_COMPLETED}", f"process {UPLOADS_COMPLETED}", f"send {AUDIT}",
    "deliver webhook",
}  # fmt: skip


@pytest.fixture(scope="module")
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver().running() as running:
        yield running


@pytest.fixture(scope="module")
def cluster(server_dir: Path, cache_dir: Path, collector: OtlpReceiver) -> Iterator[Cluster]:
    made = Cluster(
        ClusterOptions(
            data_dir=server_dir / "hooks",
            cache_dir=cache_dir,
            port=0,
            nodes=1,
            extra_env={
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
                "OTEL_BSP_SCHEDULE_DELAY": "200",
                # What nobody asks to trace is not traced: the client of this test asks.
                "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            },
        )
    )
    made.start()
    yield made
    made.stop()


def command(cluster: Cluster, *arguments: str, of: Sequence[str] = ("webhook",)) -> dict[str, Any]:
    """Run `fileflux webhook …` as a person would."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fileflux.console.cli", *of, *arguments),
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


async def test_one_put_with_a_traceparent_is_one_trace_over_all_services_to_the_delivery(
    cluster: Cluster, collector: OtlpReceiver
) -> None:
    """And `fileflux trace` tells the same upload's story, from the request to its delivery."""
    credentials = cluster.credentials
    host = cluster.endpoint.partition("//")[2]
    s3 = S3Client(Account(host, credentials.root_access_key, credentials.root_secret_key))
    async with VerifyingReceiver().running() as receiver:
        assert (await s3.request("PUT", "/traced")).status == 200
        made = await asyncio.to_thread(command, cluster, "create", "traced", receiver.url)
        receiver.secret = made["secret"]
        headers = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
        answer = await s3.request("PUT", "/traced/a", body=b"x", headers=headers)
        assert answer.status == 200
        await until(lambda: len(receiver.taken) == 1)
        spans = await asyncio.to_thread(collector.wait_for, TRACE, STEPS)
        story = await asyncio.to_thread(command, cluster, "traced/a", of=("trace",))
    await s3.close()

    assert is_connected(spans, SPAN)
    assert {span.service.removeprefix("fileflux-") for span in spans} == SERVICES
    (delivered,) = (span for span in spans if span.name == "deliver webhook")
    assert ids_of(receiver.headers[-1]["traceparent"]) == (TRACE, delivered.span_id)
    (published,) = (span for span in spans if span.name == f"send {AUDIT}")
    assert story["trace_id"] == TRACE
    assert story["position"] == published.attributes["fileflux.audit.position"]
    assert collector.spans == collector.of_trace(TRACE), "nothing else was sampled"


def ids_of(traceparent: str) -> tuple[str, str]:
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id
