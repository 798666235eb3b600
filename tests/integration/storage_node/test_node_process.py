"""A real storage node, killed at each step of its work: what it confirmed is there, for ever."""

import asyncio
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fileflux.core.errors import NodeUnreachable
from fileflux.storage_node.samples import sample_bundle

pytestmark = [pytest.mark.kafka, pytest.mark.slow]
POINTS = (
    "node.after_pull",
    "node.before_append",
    "node.after_append",
    "node.after_fsync",
    "node.after_index",
    "node.before_publish",
    "node.after_publish",
)
"""In the order of one assignment's way."""


async def test_a_node_killed_at_each_step_keeps_what_it_confirmed_and_finishes_the_rest(
    cluster: Any, make_node: Callable[..., Any]
) -> None:
    node = make_node()
    await node.start()
    node_id = node.node_id
    before = [sample_bundle(1_000 + n) for n in range(4)]
    await cluster.assign(before, node_id)
    await cluster.until_committed(before, node_id)
    for number, point in enumerate(POINTS):
        bundles = [sample_bundle(10 * number + n) for n in range(3)]
        node.arm(f"{point}=kill")
        await cluster.assign(bundles, node_id)
        assert await node.ended() == -signal.SIGKILL, point
        await cluster.listen()
        confirmed = cluster.committed(node_id)
        node.arm("")
        await node.start()

        assert node.node_id == node_id
        for bundle in [*before, *bundles]:
            if bundle.bundle_id in confirmed:
                assert await cluster.holds(node, bundle), point

        # The node reads its slot again by itself; nobody has to assign again.
        await cluster.until_committed(bundles, node_id)
        for bundle in [*before, *bundles]:
            assert await cluster.holds(node, bundle), point
        before += bundles
    items = await cluster.client.inventory(node.url, None, 1_000)
    assert {item.bundle_id for item in items} == {bundle.bundle_id for bundle in before}


async def test_a_node_answers_what_it_holds_again_and_refuses_what_is_gone(
    cluster: Any, make_node: Callable[..., Any]
) -> None:
    node = make_node()
    await node.start()
    held, gone = sample_bundle(1), sample_bundle(2)
    await cluster.assign([held], node.node_id)
    await cluster.until_committed([held], node.node_id)
    cluster.answers.clear()
    gone_event = cluster.assignment(gone, node.node_id)
    cluster.staged.clear()
    await cluster.assign([held], node.node_id, attempt=1)
    await cluster.until_committed([held], node.node_id)
    cluster.answers.clear()
    cluster.staged.clear()
    await cluster.emit(gone_event)
    async with asyncio.timeout(10):
        while not cluster.answers:
            await cluster.listen()

    assert [answer.reason for answer in cluster.answers] == ["gone"]


async def test_a_latecomer_pulls_from_a_peer(cluster: Any, make_node: Callable[..., Any]) -> None:
    first, second = make_node("first"), make_node("second")
    await first.start()
    await second.start()
    bundle = sample_bundle(5)
    await cluster.assign([bundle], first.node_id)
    await cluster.until_committed([bundle], first.node_id)
    event = replace(cluster.assignment(bundle, second.node_id), peers=(first.url,))
    cluster.staged.clear()
    await cluster.emit(event)
    await cluster.until_committed([bundle], second.node_id)

    assert await cluster.holds(second, bundle)


async def test_a_node_stops_on_sigterm_with_everything_written_down(
    cluster: Any, make_node: Callable[..., Any]
) -> None:
    node = make_node()
    await node.start()
    bundles = [sample_bundle(n) for n in range(20)]
    await cluster.assign(bundles, node.node_id)
    await cluster.until_committed(bundles, node.node_id)
    node.send_signal(signal.SIGTERM)
    assert await node.ended() == 0, node.log_path.read_text()[-2_000:]
    assert "Traceback" not in node.log_path.read_text()
    with pytest.raises(NodeUnreachable):
        await cluster.client.head(node.url, bundles[0].bundle_id)

    await node.start()
    for bundle in bundles:
        assert await cluster.holds(node, bundle)


async def test_a_node_whose_disk_fails_refuses_ends_and_starts_again_with_what_it_confirmed(
    cluster: Any, make_node: Callable[..., Any]
) -> None:
    """A limit of the file's size stands for the disk: writes fail, and not for want of room."""
    node = make_node(FILEFLUX_NODE_BALLAST_BYTES="0")
    node.file_bytes_max = 700_000
    await node.start()
    bundles = [sample_bundle(n, lengths=(100_000,)) for n in range(12)]
    for bundle in bundles:
        await cluster.assign([bundle], node.node_id)
        async with asyncio.timeout(20):
            while bundle.bundle_id not in {answer.bundle_id for answer in cluster.answers}:
                await cluster.listen()
        if bundle.bundle_id not in cluster.committed(node.node_id):
            break
    confirmed = cluster.committed(node.node_id)
    reasons = [answer.reason for answer in cluster.answers if hasattr(answer, "reason")]
    assert 3 <= len(confirmed) < len(bundles)
    assert reasons == ["fenced"]
    assert await node.ended() == 75

    node.file_bytes_max = None
    await node.start()
    for bundle in bundles:
        if bundle.bundle_id in confirmed:
            assert await cluster.holds(node, bundle)
    await cluster.assign(bundles, node.node_id, attempt=1)
    await cluster.until_committed(bundles, node.node_id)


async def test_a_second_process_on_a_dataset_ends_with_a_sentence(
    cluster: Any, make_node: Callable[..., Any]
) -> None:
    node = make_node()
    await node.start()
    other = make_node()
    other.log_path = node.log_path.with_name("log-of-the-second")
    with pytest.raises(AssertionError, match="another storage node runs on"):
        await other.start()
    assert await other.ended() == 1
    assert "Traceback" not in other.log_path.read_text()


async def test_health_and_metrics_are_served(cluster: Any, make_node: Callable[..., Any]) -> None:
    node = make_node()
    await node.start()
    bundle = sample_bundle(1)
    await cluster.assign([bundle], node.node_id)
    await cluster.until_committed([bundle], node.node_id)

    ready = await asyncio.to_thread(_get, node.ports["ops"], "/health/ready")
    metrics = await asyncio.to_thread(_get, node.ports["ops"], "/metrics")
    pool = await asyncio.to_thread(_get, node.ports["exporter"], "/metrics")
    assert '"ok"' in ready
    assert 'fileflux_node_assignments_total{outcome="committed"} 1.0' in metrics
    assert "fileflux_node_fenced 0.0" in metrics
    assert 'zfs_pool_health_status{pool="directory"} 0.0' in pool


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
    return text
