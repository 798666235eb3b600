"""Habits of the code that a reviewer should not have to look for."""

import ast
import re
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PRODUCT: Final = sorted(ROOT.glob("*/fileflux/**/*.py"))
TESTS: Final = sorted((ROOT / "tests").glob("**/*.py"))
TOOLS: Final = sorted([*(ROOT / "tools").glob("*.py"), *(ROOT / "examples").glob("*.py")])
FUNCTION_LINES_MAX: Final = 70
TEST_WORDS_MIN: Final = 3
TELEMETRY: Final = ROOT / "core/fileflux/core/telemetry.py"
METRIC: Final = re.compile(r"^([A-Z][A-Z0-9_]+) = (?:Counter|Gauge|Histogram)\(", re.MULTILINE)


def test_functions_of_tests_and_tools_fit_on_a_screen_too() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in [*TESTS, *TOOLS]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert too_long == []


def test_every_test_module_and_tool_says_what_it_is_about() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in [*TESTS, *TOOLS]
        if ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_the_name_of_a_test_is_a_sentence() -> None:
    """`test_put` proves nothing that one could doubt."""
    short = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in TESTS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) - 1 < TEST_WORDS_MIN
    ]
    assert short == []


def test_no_test_sleeps_for_a_fixed_time() -> None:
    """Wait for a condition: a fixed sleep is too short on one machine and too long on all others.

    A poll inside a loop is a wait for a condition.
    """
    fixed = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in TESTS
        for test in ast.walk(ast.parse(path.read_text()))
        if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef)
        and test.name.startswith("test_")
        for statement in test.body
        if isinstance(statement, ast.Expr)
        for call in ast.walk(statement)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "time.sleep"
    ]
    assert fixed == []


def test_metrics_are_made_in_one_place_and_all_are_used() -> None:
    """A metric that nothing moves is a dashboard that lies."""
    elsewhere = [
        str(path.relative_to(ROOT))
        for path in PRODUCT
        if path != TELEMETRY and METRIC.search(path.read_text())
    ]
    assert elsewhere == []
    text = "\n".join(path.read_text() for path in PRODUCT if path != TELEMETRY)
    names = METRIC.findall(TELEMETRY.read_text())
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def test_broad_handlers_say_why_they_may_be_broad() -> None:
    """`except Exception` stands at boundaries only, and never in silence."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in PRODUCT
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and all(isinstance(one, ast.Pass) for one in node.body)
    ]
    assert silent == []


def test_no_work_at_import() -> None:
    """An import that opens a socket, starts a thread or reads the environment takes the choice away
    from tests. Failpoints are the exception: they must be armed before anything else runs.
    """
    allowed = {ROOT / "core/fileflux/core/failpoints.py"}
    forbidden = re.compile(r"\b(os\.environ|os\.getenv|open\(|socket\.socket|Thread\()")
    found = [
        f"{path.relative_to(ROOT)}:{statement.lineno}"
        for path in PRODUCT
        if path not in allowed
        for statement in ast.parse(path.read_text()).body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr)
        and statement.value is not None
        and not isinstance(statement.value, ast.Constant)
        and forbidden.search(ast.unparse(statement))
    ]
    assert found == []


def test_no_commit_chooses_a_registry_or_a_home() -> None:
    """An index, a mirror or a home directory is one person's; everybody else's fails."""
    forbidden = [
        "--index-" + "url",
        "extra-" + "index",
        "PIP_" + "INDEX",
        "GO" + "PROXY=",
        "/roo" + "t/",
        "/hom" + "e/",
    ]
    command = ["git", "grep", "-I", "-n", "-F", *(f"-e{word}" for word in forbidden)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout == ""
