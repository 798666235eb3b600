"""`restore`, `hold`, `snapshot`, `rebuild --snapshot`: wrong questions, and what people read."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from fileflux.console import commands_restore
from fileflux.console.cli import app
from fileflux.console.commands_rebuild import Begin, snapshot_option
from fileflux.console.restore_progress import RestoreProgress
from fileflux.metadata.rebuild import Until
from fileflux.metadata.restore import Restored, Wanted
from fileflux.metadata.restore_plan import KeyFate

WIDE = {"COLUMNS": "300", "DATABASE_URL": ""}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("restore", "photos", "--as-of", "yesterday"), "neither a position"),
        (("restore", "photos", "--as-of", "2026-03-01T12:00:00"), "neither a position"),
        (("restore", "/x", "--as-of", "5"), "names no bucket"),
        (("restore", "photos/" + 513 * "é", "--as-of", "5"), "no key is longer than 1024 bytes"),
        (("hold", "create", "--reason", "", "--days", "3"), "a reason has 1 to 200 characters"),
        (("hold", "create", "--reason", "r", "--days", "31"), "equal to 30"),
        (("hold", "release", "nonsense"), "32 hexadecimal digits"),
        (("rebuild", "--into", "postgresql://x/y", "--snapshot", "old"), "neither `newest` nor"),
    ],
)
def test_a_wrong_question_is_said_so_before_anything_is_asked(
    words: tuple[str, ...], why: str
) -> None:
    result = CliRunner().invoke(app, list(words), env=WIDE)
    assert (result.exit_code, why in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    "words",
    [("restore", "photos", "--as-of", "5"), ("hold", "list"), ("snapshot", "list")],
)
def test_without_a_database_each_says_what_to_set(words: tuple[str, ...], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [*words, "--data-dir", str(tmp_path)], env=WIDE)
    assert (result.exit_code, "set DATABASE_URL" in result.output) == (1, True), result.output


def test_a_snapshot_is_asked_for_by_its_position_or_as_the_newest() -> None:
    assert snapshot_option("") == Begin()
    assert snapshot_option("newest") == Begin(snapshot=True)
    assert snapshot_option("1200") == Begin(snapshot=True, position=1200)


def test_a_key_cannot_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    commands_restore._tell_line(KeyFate(b"a\x1b[2J\xff\n", "impossible", 7, "", "", "gone"))
    assert capsys.readouterr().out == "!            7 a\\x1b[2J\\xff\\n: gone\n"


def test_without_a_terminal_progress_says_nothing_but_lines() -> None:
    out = io.StringIO()
    with RestoreProgress(Console(file=out)):
        pass
    assert out.getvalue() == ""


def test_a_person_is_told_what_would_be_done_and_until_when_it_can_be() -> None:
    done = Restored(1200, makes_bucket=True, kept_until_us=1_767_225_600_000_000)
    done.add("create", 3, 4096)
    done.add("unchanged", 9, 81)
    wanted = Wanted("photos", Until(position=1200), prefix=b"2026/", dry_run=True)
    assert commands_restore._summary(done, wanted) == [
        "photos/2026/ would be restored as of position 1200",
        "the bucket was deleted, and is made again under its name",
        "  create              3 keys             4096 bytes",
        "  unchanged           9 keys               81 bytes",
        "the bytes that come back are kept until 2026-01-01T00:00:00Z at least",
    ]
