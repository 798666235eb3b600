"""What every playbook keeps to: one node at a time, a plan first, a yes, and check mode's truth."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.deploy.ansible.machine import ANSIBLE, ansible_environment
from tools.deploy_tools import PYTHON_TOOLS_DIR

PLAYBOOKS: Final = sorted((ANSIBLE / "playbooks").glob("*.yml"))
ROLES: Final = sorted((ANSIBLE / "roles").iterdir())
FILES: Final = sorted([*ANSIBLE.glob("**/*.yml")])
MODULES: Final = sorted((ANSIBLE / "library").glob("*.py"))
READS_ONLY: Final = {
    "ansible.builtin.assert",
    "ansible.builtin.debug",
    "ansible.builtin.include_role",
    "ansible.builtin.include_tasks",
    "ansible.builtin.pause",
    "ansible.builtin.set_fact",
    "ansible.builtin.slurp",
    "ansible.builtin.stat",
    "ansible.builtin.uri",
    "ansible.builtin.wait_for",
}
KNOW_CHECK_MODE: Final = {
    "ansible.builtin.apt",
    "ansible.builtin.copy",
    "ansible.builtin.file",
    "ansible.builtin.reboot",
    "community.general.zfs",
}
WORDS: Final = ("name", "when", "register", "vars", "loop", "loop_control", "until", "retries")
MORE_WORDS: Final = ("delay", "delegate_to", "become", "changed_when", "check_mode", "failed_when")


def module_of(task: dict[str, Any]) -> str:
    return next(key for key in task if key not in (*WORDS, *MORE_WORDS))


def tasks() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in ANSIBLE.glob("roles/*/tasks/*.yml"):
        for task in yaml.safe_load(path.read_text()):
            yield path.relative_to(ANSIBLE), task


def play_of(path: Path) -> dict[str, Any]:
    (play,) = yaml.safe_load(path.read_text())
    assert isinstance(play, dict)
    return play


def test_the_playbooks_of_the_design_are_there() -> None:
    assert {path.stem for path in PLAYBOOKS} == {
        "create_pool",
        "expand_pool",
        "replace_disk",
        "scrub",
        "drain_node",
        "upgrade_node",
    }


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_goes_node_by_node_and_stops_at_the_first_failure(path: Path) -> None:
    play = play_of(path)

    assert play["serial"] == 1
    assert play["any_errors_fatal"] is True


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.stem)
def test_a_playbook_plans_then_asks_then_acts(path: Path) -> None:
    plan, confirm, act = (task["ansible.builtin.include_role"] for task in play_of(path)["tasks"])

    assert plan["tasks_from"] == "plan"
    assert confirm == {"name": "confirm_plan"}
    assert "tasks_from" not in act
    assert act["name"] == plan["name"]


def test_a_plan_changes_nothing() -> None:
    """Only reading modules, or a mutating one forced into check mode."""
    for path, task in tasks():
        if path.stem in ("plan", "due_packages"):
            module = module_of(task)
            is_ours = "." not in module and (module.endswith("info") or module == "pool_plan")
            is_asking = task.get("check_mode") is True and task.get("changed_when") is False
            is_command = module == "ansible.builtin.command" and task["changed_when"] is False
            assert module in READS_ONLY or is_ours or is_asking or is_command, (path, task["name"])


def test_each_changing_task_says_in_check_mode_what_it_would_change() -> None:
    ours = {path.stem for path in MODULES}
    for path, task in tasks():
        module = module_of(task)
        if module == "ansible.builtin.command":
            told = "'true'] if ansible_check_mode" in str(task[module]["argv"])
            assert task["changed_when"] is False or (told and task["check_mode"] is False), path
        else:
            assert module in READS_ONLY | KNOW_CHECK_MODE | ours, (path, module)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_ours_knows_check_mode_and_is_documented(path: Path) -> None:
    text = path.read_text()

    assert "supports_check_mode=True" in text
    for part in ("DOCUMENTATION", "EXAMPLES", "RETURN"):
        document = re.search(rf'^{part} = r"""\n(.*?)"""', text, re.M | re.S)
        assert document, part
        assert yaml.safe_load(document.group(1)), part


def test_what_a_role_takes_from_outside_has_a_default_or_is_the_inventorys() -> None:
    """A variable that nobody sets stops a run in its middle."""
    given = {"instance_id", "fileflux_region", "fileflux_environment", "target", "confirm"}
    for role in ROLES:
        defaults = set(yaml.safe_load((role / "defaults/main.yml").read_text()))
        assert all(
            name.startswith((f"{role.name}_", "zfs_", "node_", "confirm")) for name in defaults
        )
        text = "".join(path.read_text() for path in (role / "tasks").glob("*.yml"))
        used = set(re.findall(rf"\b{role.name}_[a-z_]+\b", text))
        made = set(re.findall(r"register: (\w+)", text))
        made |= set(re.findall(r"^ {4}(\w+):", text, re.M))
        handed = {"zfs_pool_planned"}
        if (role / "vars/main.yml").exists():
            made |= set(yaml.safe_load((role / "vars/main.yml").read_text()))
        assert used - defaults - made - given - handed == set(), role.name


def test_no_secret_and_no_key_lies_in_a_file() -> None:
    secret = re.compile(r"(AKIA[0-9A-Z]{16}|PRIVATE KEY|password:\s*\S|secret_key:\s*\S)")
    assert [path for path in FILES if secret.search(path.read_text())] == []


def test_yaml_is_clean_for_yamllint() -> None:
    run = subprocess.run(
        [PYTHON_TOOLS_DIR / "yamllint", "--strict", "-c", ANSIBLE / ".yamllint", ANSIBLE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def test_every_playbook_has_ansibles_syntax() -> None:
    run = subprocess.run(
        [str(PYTHON_TOOLS_DIR / "ansible-playbook"), "--syntax-check", "-i", "node-1,", *PLAYBOOKS],
        cwd=ANSIBLE,
        env=ansible_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.deploy
def test_ansible_lint_finds_nothing_by_its_production_profile(tmp_path: Path) -> None:
    environment = {**ansible_environment(), "ANSIBLE_HOME": str(tmp_path), "NO_COLOR": "1"}
    run = subprocess.run(
        [PYTHON_TOOLS_DIR / "ansible-lint", "--offline", "--profile", "production", "--strict"],
        cwd=ANSIBLE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr[-3_000:]
