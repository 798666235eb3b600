"""What flows between the modules of an environment, by OpenTofu's own tests in wiring/.

Mocks do not reach into child modules, so each is replaced by its outputs. That of secrets is a
stub here: a replaced module's locals are still worked out, and ask for ephemeral values.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tools.deploy_tools import path_of
from tools.provider_overrides import config_path

pytestmark = pytest.mark.deploy
ROOT: Final = Path(__file__).parents[3]
WIRING: Final = Path(__file__).parent / "wiring"


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """The module that calls all others, in a copy, with the tests beside it."""
    copy = tmp_path / "modules"
    shutil.copytree(ROOT / "terraform/modules", copy, ignore=shutil.ignore_patterns(".terraform*"))
    secrets = copy / "secrets"
    (secrets / "main.tf").write_text("")
    outputs = (secrets / "outputs.tf").read_text()
    (secrets / "outputs.tf").write_text(re.sub(r"value\s+= .*", "value = {}", outputs))
    shutil.copytree(WIRING, copy / "fileflux/tests")
    return copy / "fileflux"


def tofu(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config_path())}
    command = [str(path_of("tofu")), f"-chdir={folder}", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_an_environment_passes_what_its_modules_need(stack: Path) -> None:
    tofu(stack, "get")
    done = tofu(stack, "test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Success! [1-9]\d* passed, 0 failed", done.stdout)


def test_a_wrong_expectation_of_the_wiring_fails(stack: Path) -> None:
    """Else the test above could pass by testing nothing."""
    tests = stack / "tests/conditions.tftest.hcl"
    tests.write_text(tests.read_text().replace("ami-0bbbbbbbbbbbbbbbb", "ami-0ddddddddddddddddd"))
    tofu(stack, "get")
    done = tofu(stack, "test", "-no-color")
    assert done.returncode != 0
    assert "the last run's" in done.stdout + done.stderr
