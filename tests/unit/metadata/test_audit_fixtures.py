"""Audit records that were written once are read for ever (`docs/formats/audit.md`)."""

from pathlib import Path
from typing import Final

from tests.model.metadata_changes import ACTOR, NODES

from fileflux.core.model import Chunk
from fileflux.metadata.audit_record import decode_record, unpack_pending
from fileflux.metadata.chain import ChainState, unpack_block, verify_chain
from fileflux.metadata.ports import AuditBlock, SequencerHead
from fileflux.metadata.replay import Floors, empty_tables, replay
from fileflux.metadata.rows import HolderRow, NodeRow, PartRow, UploadRow, UserRow

FIXTURES: Final = Path(__file__).parents[2] / "fixtures"
RECORDS: Final = 17
CHAIN_HASH: Final = bytes.fromhex(
    "5c7fcaa96b7f88f228a6e6ab85901b2e1f8d2ff9033b782e00e8a6dae4b5b814"
)


def block_v1() -> AuditBlock:
    payload = (FIXTURES / "audit_v1_block.bin").read_bytes()
    return AuditBlock("main", 1, RECORDS, payload, CHAIN_HASH)


def test_a_block_of_version_1_is_whole_and_read() -> None:
    block = block_v1()
    head = SequencerHead("main", turn=1, next_position=RECORDS + 1, chain_hash=CHAIN_HASH)
    records = unpack_block(block)

    assert verify_chain(records, after=ChainState(), head=head)[0] == []
    read = [decode_record(record.payload) for record in records]
    assert [record.operation for record in read[:8]] == [
        "CreateUser",
        "CreateBucket",
        "PutObject",
        "AcceptAsync",
        "PutObject",
        "CreateMultipartUpload",
        "UploadPart",
        "UploadPartCopy",
    ]
    assert [record.key for record in read[2:5]] == [b"a/\xc3\xa9", b"\xff\x00", b"\xff\x00"]
    assert all(record.actor["user_id"] == ACTOR.user_id.hex() for record in read)


def test_a_pending_block_of_version_1_is_read() -> None:
    records = unpack_pending((FIXTURES / "audit_v1_pending.bin").read_bytes())

    numbered = [record.payload for record in unpack_block(block_v1())]
    assert [record.payload for record in records] == numbered[7:12]


def test_rows_of_version_1_come_back() -> None:
    """After everything was removed again: who, where, and what the copied part still holds."""
    read = [decode_record(record.payload) for record in unpack_block(block_v1())]
    tables, floors = empty_tables(), Floors()
    replay(read[:-5], tables, floors)
    (copied,) = (row for row in tables["parts"].values() if isinstance(row, PartRow) and row.shared)
    (whole,) = (r for r in tables["holders"].values() if isinstance(r, HolderRow) and not r.holder)
    (upload,) = tables["uploads"].values()
    (user,) = tables["users"].values()
    (node,) = tables["nodes"].values()

    assert isinstance(upload, UploadRow)
    assert upload.outcome is not None
    assert (upload.state, upload.outcome.ok) == ("completed", True)
    assert isinstance(user, UserRow)
    assert user.name == "ada"
    assert isinstance(node, NodeRow)
    assert (node.node_id, node.intent, node.weight) == (NODES[0], "drain", 0.5)
    assert whole.manifest is not None
    source = whole.manifest.chunks[0]
    assert copied.manifest.chunks == (Chunk(source.bundle_id, 0, 50, 25),)
    assert len(tables["holders"]) == 4

    replay(read[-5:], tables, floors)
    assert tables["parts"] == {}
    assert tables["holders"] == {}
    assert tables["access_keys"] == {}
    assert {key for table, key in floors if table == "access_keys"} == {b"AKIDADA"}
    assert len(tables["objects"]) == 1
