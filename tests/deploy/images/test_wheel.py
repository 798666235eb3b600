"""What the Dockerfile does with pip gives a service that starts: wheel, locks, nothing else."""

import os
import subprocess
import venv
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.images.compose_file import ROOT

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]

LOCKED: Final = ("--quiet", "--require-hashes", "--only-binary", ":all:")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stages `build` and `base`, in two environments."""
    folder = tmp_path_factory.mktemp("image")
    build = _environment(folder / "build", "build.lock")
    wheels = folder / "wheels"
    pip(
        build,
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        f"--wheel-dir={wheels}",
        ROOT,
    )
    base = _environment(folder / "base", "runtime.lock", "tracing.lock")
    pip(base, "install", "--quiet", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    return base


def _environment(folder: Path, *locks: str) -> Path:
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    pip(python, "install", *LOCKED, *(f"-r{ROOT / 'requirements' / lock}" for lock in locks))
    return python


def pip(python: Path, *words: object) -> None:
    subprocess.run([python, "-m", "pip", *map(str, words)], check=True)


@pytest.mark.parametrize("service", ["ingest", "placement", "metadata", "webhooks", "storage_node"])
def test_every_service_is_in_the_wheel_and_says_what_it_lacks(python: Path, service: str) -> None:
    """From an empty directory and environment: nothing of this checkout can be meant."""
    done = subprocess.run(
        [python, "-m", f"fileflux.{service}"],
        cwd=python.parent,
        env={"PATH": os.environ["PATH"], "FILEFLUX_LANES": "many"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "FILEFLUX_LANES" in done.stderr or "usage" in done.stderr.lower()


def test_the_console_runs_and_no_developers_tool_came_along(python: Path) -> None:
    fileflux = python.with_name("fileflux")
    assert subprocess.run([fileflux, "version"], capture_output=True, check=True).stdout
    frozen = subprocess.run(
        [python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True
    ).stdout
    assert "opentelemetry-sdk" in frozen
    assert "pytest==" not in frozen
    assert f"{ROOT}" not in frozen
