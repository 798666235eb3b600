"""Checkov's rules for Terraform: none fails, and every exception is used and explained."""

import json
import re
import subprocess
from collections import Counter
from functools import cache
from typing import Any, Final

from tests.deploy.cloud.hcl import TERRAFORM
from tools.deploy_tools import PYTHON_TOOLS_DIR

SKIP: Final = re.compile(r"#checkov:skip=(CKV2?_\w+):(.*)")
REASON_CHARACTERS_MIN: Final = 20


@cache
def results() -> dict[str, Any]:
    """Return checkov's report of terraform/. It asks no server: rules are its own."""
    command = [str(PYTHON_TOOLS_DIR / "checkov"), "--directory", str(TERRAFORM)]
    command += ["--framework", "terraform", "--output", "json", "--skip-download"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert isinstance(report["results"], dict), report
    return dict(report["results"])


def test_no_check_fails() -> None:
    failed = {
        f"{one['file_path']} {one['resource']}: {one['check_id']} {one['check_name']}"
        for one in results()["failed_checks"]
    }
    assert sorted(failed) == []
    assert len(results()["passed_checks"]) > 100
    assert results()["parsing_errors"] == []


def test_every_exception_gives_a_reason() -> None:
    files = list(TERRAFORM.rglob("*.tf"))
    skips = [found for path in files for found in SKIP.findall(path.read_text())]
    assert skips
    assert [one for one in skips if len(one[1].strip()) < REASON_CHARACTERS_MIN] == []


def test_every_exception_excepts_something() -> None:
    """One that stays after its cause has gone hides the next finding."""
    written = {
        (str(path.relative_to(TERRAFORM)), identifier)
        for path in TERRAFORM.rglob("*.tf")
        for identifier, _ in SKIP.findall(path.read_text())
    }
    used = Counter(
        (one["file_path"].lstrip("/"), one["check_id"]) for one in results()["skipped_checks"]
    )
    assert sorted(written - set(used)) == []
