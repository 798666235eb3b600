"""What terraform/ keeps to, read from its files: no provider, no account.

Each rule is also held against a file that breaks it: one that finds nothing there proves nothing.
"""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.deploy.cloud.hcl import TERRAFORM, blocks, modules, of_kind, roots, source
from tests.deploy.cloud.rules import RULES, Rule
from tools.deploy_tools import path_of

BROKEN: Final = Path(__file__).parent / "broken"
TESTED_ROOTS: Final = Path(__file__).parent / "moto"
AWS_VERSIONS: Final = ">= 5.87, < 7"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_terraform_keeps_to_the_rule(rule: Rule) -> None:
    assert list(rule(TERRAFORM)) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rule_finds_what_breaks_it(rule: Rule) -> None:
    """One finding for each block of the broken example whose comment says `breaks: RULE`."""
    file = (BROKEN / "main.tf").read_text()
    expected = len(re.findall(rf"# breaks: {rule.__name__}\b", file))
    found = list(rule(BROKEN))
    assert expected > 0
    assert len(found) == expected, found


@pytest.mark.parametrize("folder", [TERRAFORM, TESTED_ROOTS], ids=["terraform", "moto"])
def test_files_are_as_fmt_writes_them(folder: Path) -> None:
    command = [str(path_of("tofu")), "fmt", "-check", "-recursive", "-diff", str(folder)]
    clean = {"PATH": "/usr/bin:/bin"}  # A person's own configuration of the tool is not the test's.
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_says_which_versions_it_needs_and_configures_no_provider() -> None:
    missing = []
    for module in modules():
        found = [one for one in blocks() if one.path.parent == module]
        terraform = [one for one in found if one.kind == "terraform"]
        text = str(terraform[0].body) if len(terraform) == 1 else ""
        if ">= 1.11" not in text or AWS_VERSIONS not in text:
            missing.append(f"{module.name}: versions")
        if any(one.kind in ("provider", "backend") for one in found):
            missing.append(f"{module.name}: it is a module, and not a root")
    assert missing == []


def test_every_module_has_a_readme_and_tests_of_its_conditions() -> None:
    """Cloudflare's provider cannot be built here; fileflux is tested in test_cluster_wiring.py."""
    missing = [module.name for module in modules() if not (module / "README.md").exists()]
    untested = [module.name for module in modules() if not list(module.glob("tests/*.tftest.hcl"))]
    assert missing == []
    assert untested == ["cloudflare", "fileflux"]


def test_every_variable_with_a_wrong_value_has_a_test_that_refuses_it() -> None:
    """Each validation of a module is a condition: `expect_failures` names its variable."""
    untested = []
    for one in of_kind("variable"):
        module = one.path.parent
        tests = "".join(path.read_text() for path in module.glob("tests/*.tftest.hcl"))
        if tests and "validation" in one.body and f"[var.{one.labels[0]}]" not in tests:
            untested.append(str(one))
    assert untested == []


def test_only_one_module_and_one_root_need_cloudflare() -> None:
    """All the rest plans and applies without its provider and without its token."""
    need = {one.path.parent for one in blocks() if "cloudflare/cloudflare" in str(one.body)}
    assert need == {TERRAFORM / "modules/cloudflare", TERRAFORM / "cloudflare"}
    callers = {
        one.path.parent for one in of_kind("module") if "modules/cloudflare" in str(one.body)
    }
    assert callers == {TERRAFORM / "cloudflare"}


def test_every_root_keeps_its_state_in_the_bucket_but_the_one_that_makes_it() -> None:
    without = [
        root.name
        for root in roots()
        if not any("backend" in one.body for one in of_kind("terraform") if one.path.parent == root)
    ]
    assert without == ["bootstrap"]


def test_the_master_key_is_hexadecimal_in_all_versions_of_the_provider() -> None:
    """`exclude_characters` is a boolean in version 5, text in 6; SHA-256 is 64 digits."""
    text = (TERRAFORM / "modules/secrets/main.tf").read_text()
    assert re.search(r"FILEFLUX_MASTER_KEY\s*= sha256\(ephemeral\.", text)
    used = [one for one in of_kind("ephemeral") if "exclude_characters" in one.body]
    assert used == []


def test_no_file_names_an_account_a_key_or_a_token() -> None:
    """Accounts of the examples are AWS's own example numbers."""
    secret = re.compile(r"AKIA[0-9A-Z]{16}|\b(?!123456789012)\d{12}\b|-----BEGIN")
    files = [
        path for path in TERRAFORM.rglob("*") if path.is_file() and ".terraform" not in str(path)
    ]
    assert [str(path) for path in files if secret.search(path.read_text())] == []


def test_source_returns_the_lines_of_the_block_with_its_comments() -> None:
    """What the rule about wildcards reads."""
    endpoint = next(one for one in of_kind("data") if one.labels[1] == "endpoint")
    assert "# wildcard:" in source(endpoint)
    assert source(endpoint).count("\ndata ") == 0
