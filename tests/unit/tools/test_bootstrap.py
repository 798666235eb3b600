"""What `make` says before it downloads anything, and when it has nothing to do."""

import builtins
import importlib.util
import shutil
import sys
from collections import namedtuple
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
DiskUsage = namedtuple("DiskUsage", ["total", "used", "free"])


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module, on an empty cache and environments that are not there."""
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bootstrap", module)  # dataclasses look their module up.
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "CACHE_DIR", tmp_path / "cache")
    monkeypatch.setattr(module, "LOG_PATH", tmp_path / "cache" / "log")
    environments = {
        name: module.Environment(
            tmp_path / made.folder.name,
            made.locks,
            made.has_project,
            made.download_mib,
            made.disk_mib,
        )
        for name, made in module.ENVIRONMENTS.items()
    }
    monkeypatch.setattr(module, "ENVIRONMENTS", environments)
    return module


def test_an_old_python_is_told_which_one_is_needed(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", (3, 10, 13))

    with pytest.raises(SystemExit):
        bootstrap.main(["run"])

    assert "needs 3.11 or newer" in capsys.readouterr().err


def test_a_missing_venv_names_the_command_and_the_size_to_come(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def import_without_ensurepip(name: str, *args: Any) -> Any:
        if name == "ensurepip":
            raise ImportError(name)
        return original(name, *args)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", import_without_ensurepip)

    with pytest.raises(SystemExit):
        bootstrap.main(["run"])

    said = capsys.readouterr().err
    assert "apt install python3." in said
    assert "MiB are downloaded" in said


def test_a_full_disk_is_said_before_anything_is_downloaded(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: DiskUsage(1 << 40, 1 << 40, 99 << 20))

    with pytest.raises(SystemExit):
        bootstrap.main(["run"])

    said = capsys.readouterr().err
    assert "99 MiB are free" in said
    assert "FILEFLUX_CACHE_DIR=" in said
    assert not bootstrap.ENVIRONMENTS["run"].folder.exists()


def test_an_environment_made_from_these_locks_is_left_alone(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    _pretend_made(bootstrap, "dev")

    bootstrap.main(["dev", "run"])

    assert capsys.readouterr().out == ""


def test_an_environment_that_was_moved_is_made_anew(bootstrap: ModuleType, tmp_path: Path) -> None:
    """Its scripts and its editable install name the place where it was made."""
    folder = _pretend_made(bootstrap, "run")
    stamp = folder / "fileflux-run.stamp"
    stamp.write_text(stamp.read_text().replace(str(tmp_path), "/elsewhere"))

    assert not bootstrap.is_ready("run")
    bootstrap.remove_unusable(bootstrap.ENVIRONMENTS["run"])

    assert not folder.exists()


def test_a_command_that_fails_shows_the_end_of_its_log(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    bootstrap.CACHE_DIR.mkdir()

    with pytest.raises(SystemExit):
        bootstrap.run([sys.executable, "-c", "print('no such host'); raise SystemExit(3)"])

    said = capsys.readouterr().err
    assert "ended with 3" in said
    assert "no such host" in said


def _pretend_made(bootstrap: ModuleType, name: str) -> Path:
    folder: Path = bootstrap.ENVIRONMENTS[name].folder
    folder.mkdir()
    (folder / "pyvenv.cfg").write_text("version = 3.11\n")
    for made in bootstrap.made_with(name):
        bootstrap.stamp_path(made).write_text(bootstrap.json.dumps(bootstrap.stamp(made)))
    return folder
