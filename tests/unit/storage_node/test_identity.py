"""One dataset is one node, for ever, in one process at a time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fileflux.core.errors import Invalid
from fileflux.storage_node.durable_files import make_durable_file
from fileflux.storage_node.extent_file import extent_numbers
from fileflux.storage_node.identity import claim_dataset, next_epoch, settle_epoch


def test_an_empty_dataset_becomes_a_new_node_and_stays_it(tmp_path: Path) -> None:
    first = claim_dataset(tmp_path / "a")
    other = claim_dataset(tmp_path / "b")
    first.release()
    again = claim_dataset(tmp_path / "a")

    assert again.node_id == first.node_id != other.node_id
    again.release()
    other.release()


def test_a_second_process_on_the_same_dataset_is_refused(tmp_path: Path) -> None:
    dataset = claim_dataset(tmp_path)
    program = (
        "import sys; from pathlib import Path;"
        "from fileflux.storage_node.identity import claim_dataset;"
        "claim_dataset(Path(sys.argv[1]))"
    )
    refused = subprocess.run(
        [sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "another storage node runs on" in refused.stderr

    dataset.release()
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True)


def test_a_dataset_with_bundles_and_no_identity_is_not_taken_for_a_new_node(
    tmp_path: Path,
) -> None:
    claim_dataset(tmp_path).release()
    (tmp_path / "extents" / "0000000001.ffx").touch()
    (tmp_path / "node-id").unlink()
    with pytest.raises(Invalid, match="has bundles but no node-id"):
        claim_dataset(tmp_path)


def test_an_identity_that_is_no_uuid_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    claim_dataset(tmp_path).release()
    right = (tmp_path / "node-id").read_text()
    (tmp_path / "node-id").write_text("node one\n")
    with pytest.raises(Invalid, match="not a UUID"):
        claim_dataset(tmp_path)
    (tmp_path / "node-id").write_text(right)

    claim_dataset(tmp_path).release()


def test_the_epoch_grows_with_every_start(tmp_path: Path) -> None:
    assert [next_epoch(tmp_path, 0) for _ in range(3)] == [(1, False), (2, False), (3, False)]
    assert sorted(os.listdir(tmp_path)) == ["epoch"]  # noqa: PTH208  # Names, whatever they are.


@pytest.mark.parametrize("content", ["2\n", "", "two"])
def test_an_epoch_that_went_backwards_is_noticed_and_not_used_again(
    tmp_path: Path, content: str
) -> None:
    """The file was restored from an older copy, or damaged: others have seen epoch 7."""
    (tmp_path / "epoch").write_text(content)

    assert next_epoch(tmp_path, 7) == (8, True)


def test_an_epoch_that_went_backwards_is_remembered_until_it_was_settled(tmp_path: Path) -> None:
    """A restart alone brings no bundle back."""
    (tmp_path / "epoch").write_text("2\n")
    assert next_epoch(tmp_path, 7) == (8, True)
    assert next_epoch(tmp_path, 8) == (9, True)
    settle_epoch(tmp_path)
    settle_epoch(tmp_path)

    assert next_epoch(tmp_path, 9) == (10, False)


def test_a_crash_before_the_epoch_was_counted_up_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "epoch").write_text("2\n")
    real, made = make_durable_file, []

    def crash_after(path: Path, content: bytes) -> None:
        real(path, content)
        made.append(path.name)
        raise OSError("cut off")

    monkeypatch.setattr("fileflux.storage_node.identity.make_durable_file", crash_after)
    with pytest.raises(OSError, match="cut off"):
        next_epoch(tmp_path, 7)
    monkeypatch.undo()

    assert made != ["epoch"], "first the reason to wait, then the new epoch"
    assert next_epoch(tmp_path, 7) == (8, True)


def test_a_dataset_that_was_made_survives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is an entry in its parent: that is what has to be synced."""
    synced: list[Path] = []
    monkeypatch.setattr("fileflux.storage_node.durable_files.sync_directory", synced.append)
    root = tmp_path / "a" / "b"
    claim_dataset(root).release()

    assert synced[:3] == [tmp_path, tmp_path / "a", root]
    count = len(synced)
    claim_dataset(root).release()
    assert len(synced) == count


def test_extents_that_cannot_be_listed_are_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With none the index would forget all bundles, and the first extent be made again."""

    def refuse(*_: object) -> None:
        raise PermissionError("a test says so")

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(PermissionError):
        extent_numbers(tmp_path)
