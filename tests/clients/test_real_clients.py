"""What people do with `aws`, `s3cmd` and `rclone`, unmodified and in their default settings."""

import filecmp
import ssl
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.clients.programs import Client, Endpoint, S3cmd


def _same(one: Path, other: Path) -> None:
    """Fail unless both directories hold the same files with the same bytes."""
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    assert names == sorted(str(p.relative_to(other)) for p in other.rglob("*") if p.is_file())
    _, different, unreadable = filecmp.cmpfiles(one, other, names, shallow=False)
    assert (different, unreadable) == ([], [])


def _fetch(url: str, endpoint: Endpoint) -> tuple[int, bytes]:
    context = ssl.create_default_context(cafile=endpoint.ca) if endpoint.ca else None
    try:
        with urllib.request.urlopen(url, timeout=30, context=context) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_directory_goes_up_and_comes_back_the_same(
    client: Client, bucket: str, tree: Path, large: Path, tmp_path: Path
) -> None:
    large.rename(tree / "large.bin")
    client.sync_up(tree, bucket, "backup")
    client.sync_down(bucket, "backup", tmp_path / "back")

    _same(tree, tmp_path / "back")


def test_a_second_sync_moves_only_what_changed(
    client: Client, bucket: str, tree: Path, tmp_path: Path
) -> None:
    client.sync_up(tree, bucket, "backup")
    (tree / "one byte.txt").write_bytes(b"more than one byte")
    (tree / "new").write_bytes(b"new")
    client.sync_up(tree, bucket, "backup")
    client.sync_down(bucket, "backup", tmp_path / "back")

    _same(tree, tmp_path / "back")


def test_a_listing_has_the_keys_under_its_prefix(client: Client, bucket: str, tree: Path) -> None:
    client.sync_up(tree, bucket, "backup")
    files = [f"backup/{p.relative_to(tree)}" for p in tree.rglob("*") if p.is_file()]

    assert sorted(client.names(bucket, "")) == sorted(files)
    assert client.names(bucket, "backup/deep") == ["backup/deep/er/and deeper/file.bin"]
    assert client.names(bucket, "nothing") == []


def test_a_large_file_goes_up_in_parts_and_comes_back(
    client: Client, bucket: str, large: Path, tmp_path: Path
) -> None:
    client.put(large, bucket, "a large one", {})
    client.get(bucket, "a large one", tmp_path / "back.bin")

    assert filecmp.cmp(large, tmp_path / "back.bin", shallow=False)


def test_a_pipe_of_unknown_length_is_stored_whole(
    client: Client, bucket: str, large: Path, tmp_path: Path
) -> None:
    for size in (0, 10, 12_000_000):
        data = large.read_bytes()[:size]
        if not size and isinstance(client, S3cmd):
            continue  # It refuses to upload nothing from a pipe.
        client.pipe(data, bucket, f"piped {size}")
        client.get(bucket, f"piped {size}", tmp_path / f"piped {size}")
        assert (tmp_path / f"piped {size}").read_bytes() == data


def test_metadata_comes_back(client: Client, bucket: str, tree: Path) -> None:
    client.put(tree / "one byte.txt", bucket, "with metadata", {"colour": "dark red"})

    assert client.metadata(bucket, "with metadata")["colour"] == "dark red"


def test_a_copy_has_the_bytes_and_the_metadata(
    client: Client, bucket: str, tree: Path, tmp_path: Path
) -> None:
    original = tree / "one MiB and one"
    client.put(original, bucket, "original", {"colour": "red"})
    client.copy(bucket, "original", "the copy")
    client.delete(bucket, "original")
    client.get(bucket, "the copy", tmp_path / "back.bin")

    assert filecmp.cmp(original, tmp_path / "back.bin", shallow=False)
    assert client.names(bucket, "") == ["the copy"]
    assert client.metadata(bucket, "the copy")["colour"] == "red"


def test_a_large_copy_has_the_bytes(
    client: Client, bucket: str, large: Path, tmp_path: Path
) -> None:
    client.put(large, bucket, "original", {})
    client.copy(bucket, "original", "the copy")
    client.delete(bucket, "original")
    client.get(bucket, "the copy", tmp_path / "back.bin")

    assert filecmp.cmp(large, tmp_path / "back.bin", shallow=False)


@pytest.mark.parametrize("key", ["plain", "with space/ünïcödé +%&'.txt"])
def test_a_signed_link_opens_without_keys_until_it_is_changed(
    key: str, client: Client, endpoint: Endpoint, bucket: str, tree: Path
) -> None:
    """s3cmd signs links with SigV2 only: refused, with a sentence that says what to use."""
    client.put(tree / "one byte.txt", bucket, key, {})
    url = client.presign(bucket, key)
    if isinstance(client, S3cmd):
        status, body = _fetch(url, endpoint)
        assert (status, b"AWS4-HMAC-SHA256" in body) == (400, True), body
        return

    assert _fetch(url, endpoint) == (200, (tree / "one byte.txt").read_bytes())
    assert _fetch(url[:-1] + ("0" if url[-1] != "0" else "1"), endpoint)[0] == 403


def test_what_is_not_there_fails_and_says_so(client: Client, bucket: str) -> None:
    with pytest.raises(AssertionError, match=r"404|not found|Not Found"):
        client.metadata(bucket, "nothing")
