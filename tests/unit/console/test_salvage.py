"""`fileflux salvage` as an operator asks: dry runs over directories, and wrong questions."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_bundle_store import settings_for
from tests.model.salvage_bundles import NODES, Uploads, index_of
from typer.testing import CliRunner, Result

from fileflux.console.cli import app
from fileflux.console.salvage_nodes import PAUSE_S, ask_nodes
from fileflux.core.clock import ManualClock, SystemClock
from fileflux.core.errors import NodeUnreachable, NoSuchBundle
from fileflux.core.ids import BundleId, NodeId
from fileflux.core.node_records import HeldBundle
from fileflux.metadata.salvage_evidence import Evidence
from fileflux.metadata.salvage_findings import Findings
from fileflux.storage_node.opening import open_node
from fileflux.storage_node.samples import received

FOUND = {"superseded": 1, "class_unknown": 1}
"""A former version, and a class that the default settings do not define."""


def salvage(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(app, ["salvage", *arguments], env={"COLUMNS": "300", **environment})


def fill(root: Path, uploads: Uploads) -> list[str]:
    """Let nodes write what they hold; return the options that name their directories."""

    async def write(directory: Path, held: list[HeldBundle]) -> None:
        node = await open_node(settings_for(directory), SystemClock())
        for one in held:
            raw = uploads.raw[one.bundle_id]
            await node.store.write([received(one.bundle_id, raw, index_of(raw).header.crc)])
        await node.close()

    options = []
    for node_id, held in uploads.held.items():
        asyncio.run(write(root / node_id, held))
        options += ["--node-dir", str(root / node_id)]
    return options


def some_uploads() -> Uploads:
    uploads = Uploads()
    uploads.put((b"a", b"former"), nodes=NODES[:2])
    uploads.put((b"a", b"current"), (b"b", b"another"), nodes=NODES[:2])
    uploads.put_large(b"c", b"in two", b"pieces", nodes=NODES[:2])
    return uploads


def test_a_dry_run_says_what_would_come_back_and_writes_its_details(tmp_path: Path) -> None:
    directories = fill(tmp_path, some_uploads())
    details = tmp_path / "details.jsonl"
    options = ("--dry-run", *directories, "--details", str(details))
    told, as_json = salvage(*options), salvage(*options, "--json")

    assert told.exit_code == 0, told.output
    assert "would be salvaged: 3 objects (26 bytes)" in told.stdout
    assert "deletions: what was deleted after its upload comes back" in told.stdout
    said = json.loads(as_json.stdout)
    assert (said["dry_run"], said["objects"], said["buckets"]) == (True, 3, 1)
    assert said["findings"] == FOUND
    line, another = map(json.loads, details.read_text().splitlines())
    assert (line["finding"], line["bucket"], line["key"]) == ("superseded", "photos", "a")
    assert (another["finding"], another["storage_class"]) == ("class_unknown", "standard")


def test_bits_that_rotted_are_found_by_reading_the_data_and_cost_no_object(tmp_path: Path) -> None:
    directories = fill(tmp_path, some_uploads())
    for extent in (tmp_path / NODES[0] / "extents").glob("*.ffx"):
        raw = bytearray(extent.read_bytes())
        raw[raw.index(b"current")] ^= 1
        extent.write_bytes(raw)
    options = ("--dry-run", "--json", "--details", str(tmp_path / "details"), *directories)

    assert json.loads(salvage(*options).stdout)["findings"] == FOUND
    said = json.loads(salvage(*options, "--check-data").stdout)
    assert said["findings"] == {"chunk_rotten": 1, **FOUND}
    assert said["objects"] == 3


def test_an_extent_that_cannot_be_opened_costs_none_of_the_others(tmp_path: Path) -> None:
    directories = fill(tmp_path, some_uploads())
    gone = tmp_path / NODES[0] / "extents" / "0000000000.ffx"
    gone.symlink_to("nowhere")
    details = tmp_path / "details.jsonl"
    answer = salvage("--dry-run", "--json", *directories[:2], "--details", str(details))

    assert answer.exit_code == 1
    said = json.loads(answer.stdout)
    assert (said["objects"], said["findings"]["node_silent"]) == (3, 1)
    assert "0000000000.ffx" in details.read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("--dry-run",), 2, "name the nodes"),
        (("--node-dir", "x"), 2, "--into or --dry-run"),
        (("--dry-run", "--into", "postgresql://x", "--node-dir", "x"), 2, "one of them"),
        (("--dry-run", "--node", "nonsense"), 2, "is not ID=URL"),
        (("--dry-run", "--node", "a=http://b", "--node", "a=http://c"), 2, "a is given twice"),
        (("--dry-run", "--node-dir", "x", "--until", "5"), 2, "--until is of a stream"),
        (("--dry-run", "--node-dir", "x", "--from-file", "missing"), 2, "there is no file"),
        (("--dry-run", "--node-dir", "x", "--from-archive", "--from-database", "y"), 2, "at most"),
        (("--dry-run", "--node-dir", "x"), 1, "no storage node's data directory"),
        (("--dry-run", "--node", "7f=http://127.0.0.1:1"), 1, "FILEFLUX_CLUSTER_SECRET"),
    ],
)
def test_a_wrong_question_is_answered_with_what_to_do(
    arguments: tuple[str, ...], code: int, why: str
) -> None:
    answer = salvage(*arguments, FILEFLUX_CLUSTER_SECRET="")

    assert (answer.exit_code, answer.stdout) == (code, "")
    assert why in " ".join(answer.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--dry-run", "--from-archive"), "set FILEFLUX_ARCHIVE_URL"),
        (("--into", "postgresql://127.0.0.1:1/none"), "the database cannot be reached"),
    ],
)
def test_no_node_is_asked_for_hours_before_the_rest_is_known_to_be_there(
    tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    directories = fill(tmp_path, some_uploads())
    details = ("--details", str(tmp_path / "details"))
    answer = salvage(*arguments, *directories, *details)

    assert answer.exit_code == 1
    assert why in answer.stderr
    assert "records in" not in answer.stderr
    assert not (tmp_path / "details").exists()


@pytest.mark.parametrize("what", ["misses", "misses_data"])
async def test_a_node_that_misses_an_answer_is_asked_again(what: str) -> None:
    uploads = some_uploads()
    page = sorted(uploads.held[NODES[0]], key=lambda held: held.bundle_id)
    misses: dict[str, Any] = {what: 3}
    client: Any = Answers([page], **misses)
    findings = Findings()
    evidence = Evidence(findings)
    nodes, clock = {NodeId("n"): "http://n"}, ManualClock()
    await ask_nodes(
        client, nodes, evidence, findings, checks_data=True, clock=clock, report=lambda _: None
    )

    assert (evidence.counts, findings.counts) == ({NodeId("n"): len(page)}, {})
    assert clock.monotonic_s() == 3 * PAUSE_S


class Answers:
    """Stands for the client of nodes: gives pages, then breaks off or goes round.

    `misses`: so often it does not answer first. `misses_data`: the same for what it holds.
    """

    def __init__(
        self,
        pages: list[list[HeldBundle]],
        *,
        then: Exception | None = None,
        misses: int = 0,
        misses_data: int = 0,
    ) -> None:
        self._pages = pages
        self._then = then
        self._misses = misses
        self._misses_data = misses_data

    async def read_chunk(self, *_: Any) -> AsyncIterator[bytes]:
        if self._misses_data:
            self._misses_data -= 1
            raise NodeUnreachable("not now")
        yield b"verified"

    async def records(self, _url: str, _after: BundleId | None, _limit: int) -> list[HeldBundle]:
        if self._misses:
            self._misses -= 1
            raise NodeUnreachable("not now")
        if not self._pages and self._then is not None:
            raise self._then
        return self._pages.pop(0) if self._pages else []


@pytest.mark.parametrize("how", ["breaks off", "goes round", "knows no such request"])
async def test_what_a_node_told_before_it_broke_off_is_kept_and_the_rest_is_missed(
    how: str,
) -> None:
    uploads = some_uploads()
    page = sorted(uploads.held[NODES[0]], key=lambda held: held.bundle_id)
    then = NoSuchBundle("404") if how == "knows no such request" else NodeUnreachable("gone")
    client: Any = Answers([page, page] if how == "goes round" else [page], then=then)
    findings = Findings()
    evidence = Evidence(findings)
    nodes = {NodeId("n"): "http://n"}
    lines: list[str] = []
    await ask_nodes(
        client,
        nodes,
        evidence,
        findings,
        checks_data=False,
        clock=ManualClock(),
        report=lines.append,
    )

    assert evidence.counts == {NodeId("n"): len(page)}
    assert findings.counts == {"node_silent": 1}
    why = {
        "breaks off": "gone",
        "goes round": "its pages are not in order",
        "knows no such request": "no storage node, or one of an older version",
    }
    assert lines == [f"node n: {len(page)} records; NOT COMPLETE: {why[how]}"]
