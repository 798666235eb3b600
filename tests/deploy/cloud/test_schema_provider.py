"""OpenTofu, with the providers' schemas alone, finds what a provider would refuse at sight."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tools.deploy_tools import path_of
from tools.provider_overrides import config_path

pytestmark = pytest.mark.deploy
RECORD = 'resource "cloudflare_dns_record" "r" {\nzone_id = "z"\nname = "n"\ntype = "A"\nttl = 60\n'
HEAD = """
terraform {
  required_providers {
    aws        = { source = "hashicorp/aws" }
    cloudflare = { source = "cloudflare/cloudflare" }
  }
}
"""


def complaints(folder: Path, text: str) -> list[str]:
    (folder / "main.tf").write_text(HEAD + text)
    answer = json.loads(_tofu(folder, "validate", "-json"))
    return [one["summary"] for one in answer["diagnostics"] if one["severity"] == "error"]


def _tofu(folder: Path, *words: str) -> str:
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config_path())}
    command = [str(path_of("tofu")), f"-chdir={folder}", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ('resource "aws_kms_key" "k" { enable_key_rotation = true }', None),
        ('resource "aws_kms_key" "k" { enable_key_rotating = true }', "Unsupported argument"),
        ('resource "aws_kms_key" "k" { multi_region = "maybe" }', "Incorrect attribute value type"),
        ('resource "aws_kms_keys" "k" {}', "Invalid resource type"),
        ('resource "aws_kms_alias" "k" {}', "Missing required argument"),
        ('resource "aws_subnet" "s" { timeouts = {} }', "Unsupported argument"),
        ('resource "aws_kms_key" "k" { arn = "a" }', "Read-only attribute"),
        ('data "aws_caller_identity" "me" {}', None),
        (RECORD + "settings = { flatten_cname = true }\n}", None),
        (RECORD + "settings { flatten_cname = true }\n}", "Unsupported block type"),
        (RECORD + 'contents = "192.0.2.1"\n}', "Unsupported argument"),
        ('ephemeral "aws_secretsmanager_random_password" "p" { password_length = 9 }', None),
    ],
)
def test_a_mistake_is_found(tmp_path: Path, text: str, summary: str | None) -> None:
    found = complaints(tmp_path, text)
    # A required argument that is missing is not the only complaint of some versions.
    assert (summary in found) if summary else found == []


def test_an_assertion_about_a_mocked_resource_can_fail(tmp_path: Path) -> None:
    """What `tofu test` asserts of mocks, it asserts of the arguments as they are written."""
    (tmp_path / "main.tf").write_text(
        HEAD + 'resource "aws_kms_key" "k" { enable_key_rotation = false }'
    )
    (tmp_path / "a.tftest.hcl").write_text(
        'mock_provider "aws" {}\nrun "one" {\n  assert {\n'
        "    condition = aws_kms_key.k.enable_key_rotation\n"
        '    error_message = "the key is not rotated"\n  }\n}\n'
    )
    assert "the key is not rotated" in _tofu(tmp_path, "test", "-no-color")
