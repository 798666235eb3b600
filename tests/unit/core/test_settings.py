"""Start-up fails early, with every problem listed at once."""

import os
from pathlib import Path

import pytest
from pydantic import Field

from fileflux.core.settings import ClusterSettings, SettingsInvalid, load_settings


class _Service(ClusterSettings):
    port: int = Field(alias="FILEFLUX_TEST_PORT", ge=0, le=65535)


def test_every_wrong_setting_is_listed_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEFLUX_TEST_PORT", "70000")
    monkeypatch.setenv("FILEFLUX_LANES", "many")
    monkeypatch.delenv("FILEFLUX_CLUSTER_SECRET", raising=False)

    with pytest.raises(SettingsInvalid) as caught:
        load_settings(_Service)

    message = str(caught.value)
    assert "FILEFLUX_CLUSTER_SECRET is not set" in message
    assert "FILEFLUX_TEST_PORT" in message
    assert "FILEFLUX_LANES" in message


def test_a_wrong_secret_is_not_repeated_in_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEFLUX_TEST_PORT", "1")
    monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET", "tooshort-777")

    with pytest.raises(SettingsInvalid) as caught:
        load_settings(_Service)

    assert "FILEFLUX_CLUSTER_SECRET" in str(caught.value)
    assert "tooshort-777" not in str(caught.value)


class TestFiles:
    """A setting may stand in a file that NAME_FILE names."""

    @pytest.fixture(autouse=True)
    def _environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FILEFLUX_TEST_PORT", "1")
        monkeypatch.delenv("FILEFLUX_CLUSTER_SECRET", raising=False)

    def give(self, monkeypatch: pytest.MonkeyPatch, path: Path, value: bytes) -> None:
        path.write_bytes(value)
        monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET_FILE", str(path))

    def problem(self) -> str:
        with pytest.raises(SettingsInvalid) as caught:
            load_settings(_Service)
        return str(caught.value)

    @pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
    def test_the_secret_is_the_file_without_its_last_line_end(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: bytes
    ) -> None:
        self.give(monkeypatch, tmp_path / "secret", b"a secret of some length" + ending)
        secret = load_settings(_Service).cluster_secret
        assert secret.get_secret_value() == "a secret of some length"

    def test_numbers_come_from_files_too(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.give(monkeypatch, tmp_path / "secret", b"a secret of some length")
        monkeypatch.delenv("FILEFLUX_TEST_PORT")
        (tmp_path / "port").write_text("443\n")
        monkeypatch.setenv("FILEFLUX_TEST_PORT_FILE", str(tmp_path / "port"))
        assert load_settings(_Service).port == 443

    def test_every_problem_with_files_is_listed_with_the_others(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET_FILE", str(tmp_path / "nowhere"))
        monkeypatch.setenv("FILEFLUX_LANES", "many")
        problem = self.problem()
        assert f"FILEFLUX_CLUSTER_SECRET_FILE: {tmp_path}/nowhere cannot be read" in problem
        assert "FILEFLUX_LANES" in problem
        assert "FILEFLUX_CLUSTER_SECRET is not set" not in problem

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            (b"", "is empty"),
            (b"\n", "is empty"),
            (b"\xff" * 20, "not text in UTF-8"),
            (b"a" * 16 + b"\x00", "zero byte"),
            (b"a" * 70_000, "is larger than 65536 bytes"),
        ],
    )
    def test_a_file_that_is_no_value_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: bytes, said: str
    ) -> None:
        self.give(monkeypatch, tmp_path / "secret", value)
        assert said in self.problem()

    def test_what_is_no_file_is_refused_at_once(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """Opening a named pipe that nobody writes to would wait for ever."""
        os.mkfifo(tmp_path / "pipe")
        monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET_FILE", str(tmp_path / "pipe"))
        assert "is no file" in self.problem()

    def test_both_ways_at_once_are_refused(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.give(monkeypatch, tmp_path / "secret", b"a secret of some length")
        monkeypatch.setenv("FILEFLUX_CLUSTER_SECRET", "another secret of some length")
        assert "give one of them" in self.problem()

    def test_a_wrong_secret_of_a_file_is_not_repeated(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.give(monkeypatch, tmp_path / "secret", b"tooshort-777")
        problem = self.problem()
        assert "FILEFLUX_CLUSTER_SECRET" in problem
        assert "tooshort-777" not in problem
