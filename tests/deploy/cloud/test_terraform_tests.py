"""OpenTofu validates every module and root, and runs every module's tests, against the schemas.

Mocks stand for resources: what is asserted are the arguments as they were worked out, and what
each condition refuses. HashiCorp's Terraform does the same where it is found.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from tests.deploy.cloud.hcl import TERRAFORM, modules
from tools.deploy_tools import path_of
from tools.provider_overrides import config_path

pytestmark = pytest.mark.deploy
FOLDERS: Final = sorted({path.parent for path in TERRAFORM.rglob("*.tf")})
TESTED: Final = sorted(module for module in modules() if list(module.glob("tests/*.tftest.hcl")))
EPHEMERAL: Final = {"secrets", "kafka", "fileflux"}
"""Terraform 1.11 cannot mock ephemeral resources; OpenTofu can."""
Run = Callable[..., list[dict[str, Any]]]


def _found(name: str) -> Path | None:
    if name == "tofu":
        return path_of(name)
    where = shutil.which(name)
    return Path(where) if where else None


@pytest.fixture(scope="module", params=["tofu", "terraform"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a command in a folder of a copy of terraform/, and returns its messages."""
    tool = _found(request.param)
    if tool is None:
        pytest.skip("HashiCorp's terraform is not on PATH; its licence keeps it out of our tools")
    copy = tmp_path_factory.mktemp(request.param) / "terraform"
    shutil.copytree(TERRAFORM, copy, ignore=shutil.ignore_patterns(".terraform*"))
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config_path()), "NO_COLOR": "1"}
    environment["TF_DATA_DIR"] = str(copy.parent / "data")

    def messages(folder: Path, *words: str) -> list[dict[str, Any]]:
        _install(copy / folder)
        command = [str(tool), f"-chdir={copy / folder}", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        lines = done.stdout.strip()
        assert lines, done.stderr
        if words[0] == "validate":
            return [json.loads(lines)]
        return [json.loads(line) for line in lines.splitlines()]

    def _install(folder: Path) -> None:
        """Modules that others call are linked by `get`, which asks for no provider."""
        command = [str(tool), f"-chdir={folder}", "get"]
        subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return messages


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda one: str(one.relative_to(TERRAFORM)))
def test_the_files_are_valid_by_the_providers_schemas(run: Run, folder: Path) -> None:
    (answer,) = run(folder.relative_to(TERRAFORM), "validate", "-json")
    errors = [
        f"{one['summary']}: {one['detail']} {one.get('range', {}).get('filename')}"
        for one in answer["diagnostics"]
        if one["severity"] == "error"
    ]
    assert errors == []
    assert answer["valid"] is True


@pytest.mark.parametrize("module", TESTED, ids=lambda one: one.name)
def test_every_condition_of_the_module_holds_and_every_refusal_refuses(
    run: Run, module: Path, request: pytest.FixtureRequest
) -> None:
    if "terraform" in request.node.callspec.params.values() and module.name in EPHEMERAL:
        pytest.skip("Terraform 1.11 cannot mock ephemeral resources")
    lines = run(module.relative_to(TERRAFORM), "test", "-json")
    runs = [one["test_run"] for one in lines if "test_run" in one]
    ended = {one["run"]: one["status"] for one in runs if one.get("status")}
    said = [one["@message"] for one in lines if one.get("@level") == "error"]
    assert [name for name, status in ended.items() if status != "pass"] == [], said
    written = sum(path.read_text().count("\nrun ") for path in module.glob("tests/*.tftest.hcl"))
    assert len(ended) == written > 0
