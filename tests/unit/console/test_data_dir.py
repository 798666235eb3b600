"""The data directory refuses what would hurt, with a sentence that says what to do."""

import os
from pathlib import Path

import pytest

from fileflux.console import data_dir
from fileflux.console.data_dir import DataDir, DataDirProblem


def test_a_second_owner_is_refused_and_told_who_the_first_one_is(tmp_path: Path) -> None:
    first = DataDir(tmp_path / "data")
    first.open()

    with pytest.raises(DataDirProblem, match=rf"process {os.getpid()}"):
        DataDir(tmp_path / "data").open()
    first.close()
    DataDir(tmp_path / "data").open()


@pytest.mark.parametrize(("text", "says"), [("99", "newer FileFlux"), ("rubbish", "damaged")])
def test_a_newer_or_damaged_directory_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "VERSION").write_text(text)

    with pytest.raises(DataDirProblem, match=says):
        DataDir(tmp_path).open()


def test_a_full_disk_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_dir, "FREE_BYTES_MIN", 1 << 60)

    with pytest.raises(DataDirProblem, match="Free some space"):
        DataDir(tmp_path).open()


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(DataDirProblem, match="Choose another --data-dir"):
        DataDir(tmp_path / "data").open()


def test_secrets_are_made_once_and_are_their_owners_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FILEFLUX_ROOT_ACCESS_KEY", "FILEFLUX_ROOT_SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)
    data = DataDir(tmp_path)
    data.open()
    made = data.credentials()

    assert data.credentials() == made
    assert (tmp_path / "credentials.json").stat().st_mode & 0o077 == 0
    assert len(bytes.fromhex(made.master_key)) == 32


def test_nobody_else_reads_objects(tmp_path: Path) -> None:
    (tmp_path / "nodes").mkdir(mode=0o755)  # As an older version left it.
    DataDir(tmp_path).open()

    for name in ("logs", "nodes", "run", "staging"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0, name


def test_roots_key_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILEFLUX_ROOT_ACCESS_KEY", "FFCHOSEN")
    monkeypatch.setenv("FILEFLUX_ROOT_SECRET_KEY", "a secret of my own")
    data = DataDir(tmp_path)
    data.open()

    assert data.credentials().root_access_key == "FFCHOSEN"
    assert data.credentials().root_secret_key == "a secret of my own"
