"""The database's setup script, run for real with a `cockroach` that notes what it is asked."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[3]
SCRIPT: Final = ROOT / "helm/cockroachdb/files/setup.sh"
PASSWORD: Final = 'it\'s a \\ $(secret) "word"'
FAKE: Final = """\
#!{python}
import json, pathlib, sys
notes = pathlib.Path({notes!r})
calls = json.loads(notes.read_text()) if notes.exists() else []
wants_input = sys.argv[1] == "sql" and "-e" not in sys.argv
calls.append({{"arguments": sys.argv[1:], "input": sys.stdin.read() if wants_input else ""}})
notes.write_text(json.dumps(calls))
inits = [one for one in calls if one["arguments"][0] == "init"]
if sys.argv[1] == "init" and len(inits) <= {refusals}:
    sys.exit({answer!r})
"""


def run(
    directory: Path,
    *,
    answer: str = "",
    refusals: int = 0,
    schedule: str = "",
    single_node: str = "false",
) -> list[Any]:
    """Run the script; return the calls of `cockroach`. `answer`: of the first `refusals` inits."""
    notes, fake = directory / "notes.json", directory / "cockroach"
    notes.unlink(missing_ok=True)
    fake.write_text(
        FAKE.format(python=sys.executable, notes=str(notes), refusals=refusals, answer=answer)
    )
    fake.chmod(0o755)
    (directory / "setup.sql").write_text("SELECT 'setup';\n")
    (directory / "backup.sql").write_text(schedule)
    (directory / "database").mkdir(exist_ok=True)
    (directory / "database/password").write_text(PASSWORD)
    environment = {
        "PATH": "/usr/bin:/bin",
        "COCKROACH": str(fake),
        "SECRETS": str(directory),
        "SETUP": str(directory),
        "AGAIN_S": "0.01",
        "HOST": "db-0:26257",
        "SINGLE_NODE": single_node,
        "CLUSTER_NAME": "fileflux",
        "DATABASE_USER": "fileflux",
    }
    subprocess.run(
        ["/bin/bash", str(SCRIPT)], env=environment, check=True, capture_output=True, timeout=60
    )
    calls: list[Any] = json.loads(notes.read_text())
    return calls


def asked(calls: list[Any]) -> str:
    return "".join(one["input"] for one in calls)


def test_the_cluster_is_made_and_then_the_user_and_its_password(tmp_path: Path) -> None:
    calls = run(tmp_path)
    assert [one["arguments"][0] for one in calls] == ["init", "sql", "sql", "sql"]
    assert "SELECT 'setup';" in calls[2]["input"]
    assert calls[3]["input"].startswith("ALTER USER fileflux WITH PASSWORD '")


def test_any_password_arrives_as_it_is_and_on_no_command_line(tmp_path: Path) -> None:
    calls = run(tmp_path)
    literal = calls[3]["input"].removeprefix("ALTER USER fileflux WITH PASSWORD ").strip()
    assert literal == "'" + PASSWORD.replace("'", "''") + "';"
    assert all("secret" not in word for one in calls for word in one["arguments"])


def test_a_cluster_that_was_made_before_is_taken_as_it_is(tmp_path: Path) -> None:
    said = "ERROR: cluster has already been initialized"
    calls = run(tmp_path, answer=said, refusals=1)
    assert [one["arguments"][0] for one in calls].count("init") == 1


def test_nodes_that_are_not_up_yet_are_waited_for(tmp_path: Path) -> None:
    calls = run(tmp_path, answer="ERROR: connection refused", refusals=3)
    assert [one["arguments"][0] for one in calls].count("init") == 4


def test_one_node_alone_is_not_initialized(tmp_path: Path) -> None:
    calls = run(tmp_path, single_node="true")
    assert "init" not in [one["arguments"][0] for one in calls]


def test_a_licence_is_set_only_where_there_is_one(tmp_path: Path) -> None:
    assert "enterprise.license" not in asked(run(tmp_path))
    (tmp_path / "license").mkdir()
    (tmp_path / "license/organization").write_text("Bob's")
    (tmp_path / "license/license").write_text("crl-0-abc\n")
    text = asked(run(tmp_path))
    assert "SET CLUSTER SETTING cluster.organization = 'Bob''s';" in text
    assert "SET CLUSTER SETTING enterprise.license = 'crl-0-abc';" in text


@pytest.mark.parametrize("schedule", ["", "CREATE SCHEDULE x;\n"])
def test_a_schedule_is_made_only_where_it_is_wanted(tmp_path: Path, schedule: str) -> None:
    assert ("SCHEDULE" in asked(run(tmp_path, schedule=schedule))) is bool(schedule)
