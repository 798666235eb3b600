"""Rules about the repository itself, so that a reviewer never has to remember them."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOOL = PYPROJECT["tool"]
PACKAGES = sorted(path.parts[-4] for path in ROOT.glob("*/fileflux/*/__init__.py"))
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 500
LOCKS = sorted(ROOT.glob("requirements/*.lock"))
REQUIREMENT = re.compile(r"^([A-Za-z0-9_.\[\]-]+)==\S+(?: ; .+?)? \\$")


def test_fileflux_is_a_namespace() -> None:
    """One stray fileflux/__init__.py hides every other package from the import system."""
    assert list(ROOT.glob("*/fileflux/__init__.py")) == []


def test_every_package_folder_is_declared_everywhere() -> None:
    """A folder missing from one list is silently not shipped, not typed or not contracted."""
    wheel = TOOL["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(TOOL["hatch"]["build"]["dev-mode-dirs"]) == PACKAGES
    assert sorted(wheel) == [f"{name}/fileflux" for name in PACKAGES]
    assert sorted(TOOL["mypy"]["mypy_path"]) == PACKAGES
    assert sorted(TOOL["ruff"]["src"]) == PACKAGES
    assert sorted(TOOL["importlinter"]["root_packages"]) == [f"fileflux.{n}" for n in PACKAGES]


def test_functions_fit_on_a_screen() -> None:
    """A function you must scroll is a function nobody checks."""
    too_long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in ROOT.glob("*/fileflux/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert too_long == []


def test_modules_are_split_before_they_grow() -> None:
    """Question a module at 400 lines; nothing grows past this."""
    too_long = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in ROOT.glob("*/fileflux/**/*.py")
        if (count := len(path.read_text().splitlines())) > MODULE_LINES_MAX
    ]
    assert too_long == []


def test_no_module_is_named_after_nothing() -> None:
    """A function that fits nowhere is a missing concept."""
    names = {"util.py", "utils.py", "helpers.py", "common.py", "misc.py"}
    paths = [*ROOT.glob("*/fileflux/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("tools/*")]
    assert [path for path in paths if path.name in names] == []


def test_every_module_says_why_it_exists() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in ROOT.glob("*/fileflux/**/*.py")
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_test_folders_are_not_packages() -> None:
    assert list((ROOT / "tests").glob("**/__init__.py")) == []


def test_declared_dependencies_are_the_locked_ones() -> None:
    """pip reads pyproject.toml, `make setup` reads the locks: they must want the same."""
    project = PYPROJECT["project"]
    assert sorted(_plain(project["dependencies"])) == sorted(_wanted("runtime"))
    for extra in ("dev", "tracing"):
        assert sorted(_plain(project["optional-dependencies"][extra])) == sorted(_wanted(extra))


def test_locks_pin_everything_and_name_no_registry() -> None:
    """A hash is the whole truth about a file; an address would tie everybody to one mirror."""
    for lock in LOCKS:
        text = lock.read_text()
        assert "://" not in text, lock
        blocks = [b for b in re.split(r"\n(?=\S)", text) if b and not b.startswith("#")]
        assert blocks, lock
        for block in blocks:
            assert REQUIREMENT.match(block.splitlines()[0]), (lock, block)
            assert "--hash=sha256:" in block, (lock, block)


def test_the_kafka_lock_pins_every_jar() -> None:
    lines = (ROOT / "console/fileflux/console/kafka.lock").read_text().splitlines()
    pinned = re.compile(r"[\w.-]+:[\w.-]+:[\w.-]+ sha256:[0-9a-f]{64}")
    assert [line for line in lines if not line.startswith("#") and not pinned.fullmatch(line)] == []


def test_no_commit_names_this_machine() -> None:
    """Paths of one machine and hosts of a registry work for nobody else."""
    forbidden = ["/wo" + "rk/", "pypi." + "org", "files.python" + "hosted", "repo1." + "maven"]
    # -I: binary fixtures are not text.
    command = ["git", "grep", "-I", "-n", "-F", *(f"-e{word}" for word in forbidden)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""


def _plain(requirements: list[str]) -> list[str]:
    return [requirement.replace('"', "'").replace(" ", "") for requirement in requirements]


def _wanted(name: str) -> list[str]:
    lines = (ROOT / f"requirements/{name}.in").read_text().splitlines()
    return _plain([line for line in lines if line and not line.startswith(("#", "-"))])
