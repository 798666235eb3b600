"""A file is there whole or not at all, and what failed takes no room."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fileflux.storage_node.ballast import Ballast
from fileflux.storage_node.durable_files import has_room, make_durable_file


def failing(error: OSError, *, at_call: int) -> Callable[[int], None]:
    """Return an fsync that raises `error` when it is called for the `at_call`th time."""
    real, calls = os.fsync, [0]

    def fsync(fd: int) -> None:
        calls[0] += 1
        if calls[0] == at_call:
            raise error
        real(fd)

    return fsync


FULL = OSError(errno.ENOSPC, "full")


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_file_that_could_not_be_made_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is where it fails, and there the draft would keep the last room."""
    make_durable_file(tmp_path / "file", b"before")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(FULL, at_call=1))
        with pytest.raises(OSError, match="full"):
            make_durable_file(tmp_path / "file", b"after")

    assert names(tmp_path) == {"file"}
    assert (tmp_path / "file").read_bytes() == b"before"


def test_a_file_that_has_its_name_keeps_it_when_the_last_sync_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(FULL, at_call=2))
        with pytest.raises(OSError, match="full"):
            make_durable_file(tmp_path / "file", b"after")

    assert names(tmp_path) == {"file"}


def test_the_ballast_goes_with_its_draft(tmp_path: Path) -> None:
    """Killed while it was made, half of it lies under another name."""
    ballast = Ballast(tmp_path, 1_000)
    (tmp_path / "ballast.tmp").write_bytes(bytes(500))
    assert ballast.throw_off()
    assert names(tmp_path) == set()
    assert not ballast.throw_off()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_whether_there_is_room_is_found_out_by_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """A quota shows in no figure that every file system gives."""
    assert has_room(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing(OSError(code, "full"), at_call=1))
        assert not has_room(tmp_path)
        patched.setattr(os, "fsync", failing(OSError(errno.EIO, "broken"), at_call=1))
        assert has_room(tmp_path), "a disk that fails otherwise is not full"

    assert names(tmp_path) == set()
