"""Our SQL runs on PostgreSQL and on CockroachDB, and only the first of them runs here.

So every statement passes CockroachDB's own parser, and a list names what parses there and is
refused, means something else, or is slow.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tools.deploy_tools import place_of

ROOT: Final = Path(__file__).parents[2]
METADATA: Final = ROOT / "metadata" / "fileflux" / "metadata"
FILES: Final = sorted([*METADATA.glob("*.sql"), *METADATA.glob("migrations/*.sql")])
HEADER: Final = re.compile(r"^-- (\w+) --$", re.MULTILINE)

DENIED: Final = {
    r"\bpg_(try_)?advisory_": "CockroachDB's advisory locks do nothing",
    r"\b(LISTEN|NOTIFY|UNLISTEN)\b": "CockroachDB has none",
    r"\bDO\s+(\$|'|LANGUAGE)": "no DO blocks: a migration is plain SQL",
    r"\bSKIP\s+LOCKED\b": "skipped rows that nobody had locked (reliability.md, 2.3)",
    r"\bNOWAIT\b": "an error that means busy is not worth a code path",
    r"\b(SMALL|BIG)?SERIAL\d?\b": "not a sequence there; ids are made by us",
    r"\bON\s+CONFLICT\s+DO\b": "a conflict without a target hides the one that we did not expect",
    r"\bSET\s+(?!LOCAL\b)(SESSION|TRANSACTION|TIME|[a-z_]+\s*(=|TO\b))": "sessions are not reset",
    r"\bCREATE\s+(OR\s+REPLACE\s+)?(FUNCTION|TRIGGER|PROCEDURE|EXTENSION)\b": "logic is in Python",
    r"\bCREATE\s+TEMP": "temporary tables are experimental there",
    r"\b(INTEGER|INT|SMALLINT|BIGINT)\b": "INT is 64 bits there and 32 here: say INT8 or INT4",
    r"\b(JSON|XML|MONEY|HSTORE|TSVECTOR)\b(?!B)": "no such column type there",
    r"\bLOCK\s+TABLE\b": "CockroachDB has none",
    r"\bCURRENT_TIMESTAMP\b|\bnow\(\)": "the start of the transaction; stamps want clock_timestamp",
    r"\bctid\b|\bxmin\b|\boid\b": "PostgreSQL's own columns",
}
COLUMN_ARRAY: Final = re.compile(r"^\s*\w+\s+\w+\[\]", re.MULTILINE)


def without_comments_and_strings(text: str) -> str:
    text = re.sub(r"--[^\n]*", "", text)
    # SET is a clause of UPDATE and ON CONFLICT too: those are not about sessions.
    return re.sub(r"'(?:[^']|'')*'", "''", text)


def test_there_is_sql_to_check() -> None:
    assert FILES, METADATA


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_statement_uses_what_one_of_the_two_lacks(path: Path) -> None:
    code = without_comments_and_strings(path.read_text())
    found = [
        f"{match[0]!r}: {reason}"
        for pattern, reason in DENIED.items()
        for match in re.finditer(pattern, code, re.IGNORECASE)
        if not _is_clause_of_a_write(code, match)
    ]
    assert found == []


def _is_clause_of_a_write(code: str, match: re.Match[str]) -> bool:
    """UPDATE … SET and DO UPDATE SET change rows, not the session."""
    if not match[0].upper().startswith("SET"):
        return False
    statement = code[: match.start()].rpartition(";")[2].upper()
    return "UPDATE" in statement


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_column_is_an_array(path: Path) -> None:
    """Arrays are parameters, with unnest; a column of them cannot be indexed alike in both."""
    code = without_comments_and_strings(path.read_text())
    tables = re.findall(r"CREATE TABLE.*?\n\)", code, re.DOTALL)
    assert [line for table in tables for line in COLUMN_ARRAY.findall(table)] == []


def test_every_query_has_a_name_of_its_own_and_a_sentence() -> None:
    """The name is how code finds it, the sentence is how a reader does."""
    sections = list(_sections())
    names = [name for name, _ in sections]
    assert len(names) == len(set(names))
    silent = [name for name, body in sections if not re.match(r"\n-- [A-Z`].*\S", body)]
    assert silent == []


def _sections() -> Iterator[tuple[str, str]]:
    for path in METADATA.glob("*.sql"):
        _, *parts = HEADER.split(path.read_text())
        yield from zip(parts[::2], parts[1::2], strict=True)


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:4]) for path in sorted(METADATA.glob("migrations/*.sql"))]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert numbers[0] in (0, 1)


@pytest.fixture(scope="module")
def sqlcheck() -> Path:
    binary = place_of("sqlcheck")
    if not binary.exists():
        pytest.skip("CockroachDB's parser is not built: `make sqlcheck`")
    return binary


@pytest.mark.sqlcheck
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_cockroachdb_parses_every_statement(sqlcheck: Path, path: Path) -> None:
    answer = subprocess.run([sqlcheck, path], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not answer.stderr.startswith("0 statements")


@pytest.mark.sqlcheck
def test_a_refused_statement_is_found_on_its_line(sqlcheck: Path) -> None:
    text = "-- a comment\nSELECT 1;\n\n-- x --\nSELECT a\nFROM t\nWHER b = 1;\nSELECT FROM;\n"
    answer = subprocess.run([sqlcheck], input=text, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert [line.split(":")[1] for line in answer.stdout.splitlines()] == ["7", "8"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_try_advisory_lock(1)",
        "LISTEN changes",
        "DO $$ BEGIN END $$",
        "SELECT 1 FROM t FOR UPDATE SKIP LOCKED",
        "CREATE TABLE t (id BIGSERIAL)",
        "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",
        "SET statement_timeout = 5",
        "CREATE TABLE t (a INTEGER)",
    ],
)
def test_the_list_finds_what_it_is_for(statement: str) -> None:
    assert any(re.search(pattern, statement, re.IGNORECASE) for pattern in DENIED)
