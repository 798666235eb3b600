"""Named statements, and several of them as one."""

import re
from importlib.resources import files

import pytest

from fileflux.metadata.migrate import migrations
from fileflux.metadata.queries import (
    parameter_count,
    statement,
    statements,
    statements_of,
    together,
)


def test_several_writes_are_one_statement_with_their_parameters_numbered_on() -> None:
    text = together(("delete_users", "put_floors", "add_audit_pending"))

    assert [int(n) for n in re.findall(r"\$(\d+)", text)] == [1, 2, 3, 4, 5, 6, 7]
    assert text.count("RETURNING 1)") == 3
    assert text.endswith("(SELECT count(*) FROM q2)")


def test_a_statement_has_no_comment_and_no_semicolon() -> None:
    for name, text in statements().items():
        assert text, name
        assert "--" not in text
        assert ";" not in text


def test_parameters_are_numbered_from_one_without_a_gap() -> None:
    for name, text in statements().items():
        numbers = {int(n) for n in re.findall(r"\$(\d+)", text)}
        assert numbers == set(range(1, parameter_count(name) + 1)), name


def test_every_write_says_how_many_rows_it_met() -> None:
    """`together` counts them, and a position that was not ours is known by it."""
    writes = [text for text in statements().values() if re.match("INSERT|UPDATE|DELETE", text)]
    assert len(writes) > 20
    assert [text for text in writes if not re.search(r"RETURNING (1|token)$", text)] == []


def test_every_statement_has_a_sentence_above_it() -> None:
    text = files("fileflux.metadata").joinpath("queries.sql").read_text()
    _, *sections = re.split(r"^-- (\w+) --$", text, flags=re.MULTILINE)
    for name, body in zip(sections[::2], sections[1::2], strict=True):
        comments = [line for line in body.strip().splitlines() if line.startswith("--")]
        assert comments, name
        assert comments[-1].rstrip().endswith((".", ")")), name


def test_an_unknown_name_is_our_bug() -> None:
    with pytest.raises(KeyError):
        statement("nothing")


def test_a_file_of_statements_is_cut_at_its_semicolons() -> None:
    text = "-- why; and how\nCREATE TABLE a (b TEXT);\n\n-- more\nCREATE INDEX c ON a (b);\n"
    assert statements_of(text) == ["CREATE TABLE a (b TEXT)", "CREATE INDEX c ON a (b)"]


def test_migrations_are_numbered_without_a_gap_and_can_be_run_again() -> None:
    found = migrations()

    assert [migration.version for migration in found] == list(range(len(found)))
    for migration in found:
        for text in migration.statements:
            assert " IF NOT EXISTS " in text, text
