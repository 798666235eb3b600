"""The Dockerfile is sound, and a release cannot be built on a base that moves."""

import re
import subprocess
from typing import Final

from tests.deploy.images.compose_file import OURS, ROOT, image_command
from tools.deploy_tools import PYTHON_TOOLS_DIR

TEXT: Final = (ROOT / "Dockerfile").read_text()


def test_hadolint_has_no_complaint() -> None:
    done = subprocess.run(
        [PYTHON_TOOLS_DIR / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True
    )
    assert done.stdout == ""
    assert done.returncode == 0


def test_every_target_runs_as_a_number_that_is_not_root() -> None:
    """Kubernetes cannot tell of a name that it is not root."""
    stages = re.split(r"^FROM ", TEXT, flags=re.M)[1:]
    last_users = [re.findall(r"^USER (\S+)$", stage, re.M)[-1:] for stage in stages]
    assert {user for users in last_users for user in users} == {"10001:10001"}
    assert last_users[1] == ["10001:10001"], "the base that all targets inherit"


def test_what_is_installed_is_locked_by_hash() -> None:
    installs = re.findall(r"pip install (?:[^\n]|\\\n)*", TEXT)
    assert len(installs) == 4
    for install in installs:
        is_our_own_wheel = "--no-index /wheels" in install
        assert "--require-hashes" in install or is_our_own_wheel, install


def test_a_release_needs_the_digest_of_its_base() -> None:
    """Docker-bake.hcl says so; its tool needs a Docker engine, so the pattern is tried."""
    bake = (ROOT / "docker-bake.hcl").read_text()
    match = re.search(r'regex\("([^"]+)", PYTHON_IMAGE\)', bake)
    assert match is not None
    assert 'default = ""' in bake.split('variable "PYTHON_IMAGE"')[1].split("}")[0]
    assert not re.search(match[1], "python:3.11-slim-bookworm")
    assert re.search(match[1], "python:3.11-slim-bookworm@sha256:" + "a" * 64)


def test_bake_builds_every_target_that_compose_runs() -> None:
    bake = (ROOT / "docker-bake.hcl").read_text()
    match = re.search(r"service = \[(.*?)\]", bake)
    assert match is not None
    assert set(re.findall(r'"([\w-]+)"', match[1])) == {
        one["build"]["target"] for one in OURS.values()
    }


def test_every_target_has_a_command() -> None:
    for target in {one["build"]["target"] for one in OURS.values()}:
        entry, command = image_command(target)
        assert [*entry, *command], target
