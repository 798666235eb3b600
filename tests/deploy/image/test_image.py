"""The image's template, scripts and units are sound; what they do is done where it can be."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from tools.deploy_tools import path_of

from fileflux.storage_node.settings import NodeSettings

ROOT: Final = Path(__file__).parents[3]
PACKER: Final = ROOT / "packer"
SHELLCHECK: Final = Path(sys.executable).with_name("shellcheck")
OVER_THIS_SYSTEM: Final = Path(__file__).with_name("over_this_system.sh")
TEMPLATE: Final = (PACKER / "storage-node.pkr.hcl").read_text()
SCRIPTS: Final = [
    *sorted((PACKER / "scripts").glob("*.sh")),
    PACKER / "smoke/smoke.sh",
    PACKER / "files/fileflux-pool-init",
    *sorted((ROOT / "compose").glob("*.sh")),
]
UNITS: Final = sorted(
    path for path in (PACKER / "files").iterdir() if path.suffix in (".service", ".timer")
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_no_complaint(script: Path) -> None:
    done = subprocess.run([SHELLCHECK, str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "set -" in script.read_text()


def test_every_script_and_file_that_the_template_names_exists() -> None:
    named = re.findall(r"\$\{path\.root\}/([\w./-]+)", TEMPLATE)
    assert len(named) > 4
    assert [
        name for name in named if name != "manifest.json" and not (PACKER / name).exists()
    ] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("encrypt_boot", "true"),
        ("http_tokens", '"required"'),
        ("imds_support", '"v2.0"'),
        ("ssh_interface", '"session_manager"'),
        ("Project", '"fileflux"'),
        ("Role", '"storage-node"'),
    ],
)
def test_the_image_is_encrypted_tagged_and_nobody_needs_a_way_in(name: str, value: str) -> None:
    assert re.search(rf"^\s*{name}\s+= {re.escape(value)}$", TEMPLATE, re.M)


def test_every_variable_is_described() -> None:
    for block in re.findall(r'^variable "\w+" \{(.*?)^\}', TEMPLATE, re.M | re.S):
        assert "description" in block


def test_the_node_outside_kubernetes_is_given_settings_that_exist() -> None:
    unit = (PACKER / "files/fileflux-node.service").read_text()
    given = re.findall(r"\b(FILEFLUX_\w+)=", unit)
    known = {str(field.alias) for field in NodeSettings.model_fields.values()}
    assert given
    assert {name.removesuffix("_FILE") for name in given} <= known


@pytest.mark.parametrize(
    "user_data",
    ["terraform/modules/storage_nodes/user_data.sh.tftpl", "helm/karpenter/templates/_helpers.tpl"],
)
def test_user_data_makes_the_pool_of_all_disks_before_the_node_joins(user_data: str) -> None:
    """The number of disks, then the pool, then the cluster; a pool that fails ends the script."""
    text = (ROOT / user_data).read_text()
    steps = ("/etc/fileflux/pool-disks.env", "systemctl restart fileflux-pool-init", "--apiserver")
    places = [text.index(step) for step in steps]
    assert places == sorted(places)
    assert "set -euo pipefail" in text
    unit = (PACKER / "files/fileflux-pool-init.service").read_text()
    assert "ConditionPathExists=/etc/fileflux/pool-disks.env" in unit


def test_kubelet_is_not_started_without_the_pool() -> None:
    drop_in = (PACKER / "files/kubelet-pool.conf").read_text()
    assert "Requires=fileflux-pool-init.service" in drop_in
    script = (PACKER / "scripts/20-node.sh").read_text()
    assert "kubelet-pool.conf" in script


@pytest.mark.deploy
def test_packer_takes_the_template_as_it_is_written() -> None:
    """The plugin for AWS cannot be had here: arguments of its source are not checked."""
    packer = str(path_of("packer"))
    for words in (["fmt", "-check"], ["validate", "-syntax-only"]):
        done = subprocess.run(
            [packer, *words, str(PACKER)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.deploy
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """In a root of their own, where the programs that they start exist."""
    units = tmp_path / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, units)
    for program in ("usr/local/sbin/fileflux-pool-init", "opt/fileflux/bin/python", "bin/sh"):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    command = ["systemd-analyze", f"--root={tmp_path}", "verify", "--recursive-errors=no"]
    done = subprocess.run(
        [*command, *(unit.name for unit in UNITS)], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "fileflux" in line and "Unit" not in line]
    assert ours == []


@pytest.mark.deploy
@pytest.mark.zfs
def test_the_node_script_makes_an_image_that_passes_its_smoke_test_and_changes_nothing_again(
    tmp_path: Path,
) -> None:
    """In a namespace of its own over this system: what is written is thrown away."""
    if os.geteuid():
        pytest.skip("needs root, for a mount namespace")
    unshare = ["unshare", "--mount", "--propagation", "private", "bash", "-eu"]
    command = [*unshare, str(OVER_THIS_SYSTEM), str(tmp_path), str(PACKER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "0 checks failed" in done.stdout
    assert "systemctl daemon-reload" in done.stdout
    assert not Path("/etc/fileflux").exists()
