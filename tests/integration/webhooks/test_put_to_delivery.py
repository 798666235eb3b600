"""The whole way on a running system: an object is stored, its bucket's webhook is told, signed.

So are those who read the audit stream: the programs that the how-to shows, beside each other.
"""

import asyncio
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from PIL import Image
from tests.bench.signing import Account
from tests.fault.s3_client import S3Client
from tests.model.consumer_programs import (
    EXAMPLES,
    kcat_lines,
    python,
    readers_of_others,
    running,
)
from tests.model.otlp_receiver import OtlpReceiver, is_connected
from tests.model.schema_check import found_wrong, problems
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
from fileflux.ingest.access_schema import access_headers
from fileflux.metadata.audit_schema import audit_headers

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


def command(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    """Run `fileflux webhook …` as a person would."""
    return cli(cluster, "webhook", *arguments)


def cli(cluster: Cluster, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fileflux.console.cli", *arguments),
            *("--json", "--data-dir", str(cluster.options.data_dir)),
        ],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def client(cluster: Cluster) -> S3Client:
    credentials = cluster.credentials
    host = cluster.endpoint.partition("//")[2]
    return S3Client(Account(host, credentials.root_access_key, credentials.root_secret_key))


async def test_a_put_leads_to_a_signed_delivery(cluster: Cluster) -> None:
    s3 = client(cluster)
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
        assert [problems("s3-notification", body) for body in receiver.bodies] == [[]] * 3
        shown = await asyncio.to_thread(command, cluster, "show", made["webhook"])
        assert (shown["state"], shown["waiting"], shown["dead"]) == ("active", 0, 0)
        attempts = await asyncio.to_thread(command, cluster, "attempts", made["webhook"])
        assert {one["status"] for one in attempts["webhooks"]} == {204}
    await s3.close()
    print(f"two objects stored and told in {took_s:.2f} s")


def picture() -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(made, "PNG")
    return made.getvalue()


def environment(cluster: Cluster) -> dict[str, str]:
    """What the how-to tells to export."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": cluster.backends.kafka_bootstrap_servers,
        "AWS_ENDPOINT_URL": cluster.endpoint,
        "AWS_ACCESS_KEY_ID": cluster.credentials.root_access_key,
        "AWS_SECRET_ACCESS_KEY": cluster.credentials.root_secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }


async def test_the_consumers_of_the_how_to_follow_what_is_stored(
    cluster: Cluster, cache_dir: Path, tmp_path: Path
) -> None:
    """One of them is killed on the way. Every record that they read is as its schema says."""
    others = readers_of_others(cache_dir)
    print("in other languages:", ", ".join(others) or "no tool found")
    commands = {
        "indexer": python("search_indexer.py", "index.db"),
        "thumbnailer": python("thumbnailer.py", "pictures", "small"),
        "faust": python("faust_consumer.py", "worker", "--without-web"),
        **others,
    }
    s3 = client(cluster)
    for bucket in ("pictures", "small"):
        assert (await s3.request("PUT", f"/{bucket}")).status == 200
    with running(commands, environment(cluster), tmp_path) as programs:
        for key, body in (("beach-1.png", picture()), ("notes.txt", b"x"), ("gone.png", b"y")):
            assert (await s3.request("PUT", f"/pictures/{key}", body=body)).status == 200
        assert (await s3.request("DELETE", "/pictures/gone.png")).status == 204
        index = runpy.run_path(str(EXAMPLES / "search_indexer.py"))["Index"](
            str(tmp_path / "index.db")
        )
        await until(lambda: len(index.search("pictures")) == 2 and programs["indexer"].said == "")
        programs["indexer"].kill_and_start_again()
        assert (await s3.request("PUT", "/pictures/beach-2.png", body=picture())).status == 200
        await until(lambda: len(index.search("beach png")) == 4)  # With their thumbnails' names.
        await until(lambda: "made 'beach-2.png'" in programs["thumbnailer"].said)
        small = await s3.request("GET", "/small/beach-2.png.jpg")
        assert Image.open(io.BytesIO(small.body)).size == (160, 120)
        await until(lambda: told_by_faust(programs["faust"].said).get("pictures") == 3)
        for name in others:
            await until(lambda name=name: programs[name].said.count("/buckets/pictures") >= 6)  # type: ignore[misc]
        assert programs["thumbnailer"].said.count("made") == 2
    await s3.close()
    await asyncio.to_thread(run_kcat_lines, environment(cluster))
    assert await problems_of_the_topic(cluster) == []


async def test_a_read_is_recorded_as_the_schema_says(cluster: Cluster) -> None:
    s3 = client(cluster)
    assert (await s3.request("PUT", "/read")).status == 200
    await asyncio.to_thread(cli, cluster, "admin", "bucket", "access-log", "read", "on")
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(60):
        while not found:  # Workers hear of a bucket's configuration a moment later.
            assert (await s3.request("GET", "/read")).status == 200
            found = await records_of(cluster, "fileflux.access")
    await s3.close()
    for record in found:
        assert problems("access-record", record.value) == []
        headers = {name: value.decode() for name, value in record.headers}
        assert found_wrong(access_headers(), headers) == []


def told_by_faust(said: str) -> dict[str, int]:
    """Return how many objects each bucket has by the last line about it, if none was missing."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith('{"bucket"')]
    assert all(line["missing"] == 0 for line in lines)
    return {line["bucket"]: line["objects"] for line in lines}


def run_kcat_lines(exported: dict[str, str]) -> None:
    """Those that end by themselves, where there is a kcat."""
    for line in kcat_lines()[1:] if shutil.which("kcat") else []:
        done = subprocess.run(
            ["sh", "-c", line], env={**os.environ, **exported}, capture_output=True, check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout or b"Reached end of topic" in done.stderr, line  # Nothing there yet.


async def problems_of_the_topic(cluster: Cluster) -> list[str]:
    found: list[str] = []
    records = await records_of(cluster, "fileflux.audit")
    assert len(records) > 10
    for record in records:
        found += problems("audit-record", record.value)
        headers = {name: value.decode() for name, value in record.headers}
        found += found_wrong(audit_headers(), headers)
    return found


async def test_what_a_tenant_does_is_on_the_tenants_topic_and_nothing_else(
    cluster: Cluster,
) -> None:
    """Of all buckets of the user, also those that are made later; the topic is made, too."""
    alice = await asyncio.to_thread(cli, cluster, "admin", "user", "create", "alice")
    arguments = ("create", "alices", "kafka:alice.events", "--user", "alice")
    await asyncio.to_thread(cli, cluster, "route", *arguments)
    host = cluster.endpoint.partition("//")[2]
    hers = S3Client(Account(host, alice["access_key"], alice["secret_key"]))
    other = client(cluster)
    for who, bucket in ((other, "others"), (hers, "letters"), (hers, "notes")):
        assert (await who.request("PUT", f"/{bucket}")).status == 200
        assert (await who.request("PUT", f"/{bucket}/one", body=b"x")).status == 200
    assert (await hers.request("DELETE", "/letters/one")).status == 204
    await hers.close()
    await other.close()
    found: list[ConsumerRecord] = []
    async with asyncio.timeout(60):
        while len(found) < 3:
            found = await records_of(cluster, "alice.events")
    assert [dict(one.headers)["ce_type"] for one in found if one.key == b"letters/one"] == [
        b"fileflux.object.created",
        b"fileflux.object.deleted",
    ]
    assert [one.key for one in found if one.key != b"letters/one"] == [b"notes/one"]
    shown = await asyncio.to_thread(cli, cluster, "route", "show", "alices")
    assert (shown["state"], shown["problem"], shown["replays_until"]) == ("active", "", 0)


async def records_of(cluster: Cluster, topic: str) -> list[ConsumerRecord]:
    """Return what the topic holds now."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=cluster.backends.kafka_bootstrap_servers,
        auto_offset_reset="earliest",
    )
    await consumer.start()
    found: list[ConsumerRecord] = []
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while sum([await consumer.position(place) for place in ends]) < sum(ends.values()):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    finally:
        await consumer.stop()
    return found


async def test_one_put_with_a_traceparent_is_one_trace_over_all_services_to_the_delivery(
    cluster: Cluster, collector: OtlpReceiver
) -> None:
    """And `fileflux trace` tells the same upload's story, from the request to its delivery."""
    s3 = client(cluster)
    async with VerifyingReceiver().running() as receiver:
        assert (await s3.request("PUT", "/traced")).status == 200
        made = await asyncio.to_thread(command, cluster, "create", "traced", receiver.url)
        receiver.secret = made["secret"]
        headers = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
        answer = await s3.request("PUT", "/traced/a", body=b"x", headers=headers)
        assert answer.status == 200
        await until(lambda: len(receiver.taken) == 1)
        spans = await asyncio.to_thread(collector.wait_for, TRACE, STEPS)
        story = await asyncio.to_thread(cli, cluster, "trace", "traced/a")
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
