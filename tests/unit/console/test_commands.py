"""Every command teaches: what it takes, an example that works, how it ends, what a script reads."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
import typer
from typer.testing import CliRunner

from fileflux.console import commands_admin
from fileflux.console.cli import app
from fileflux.console.command_help import EXIT_CODES
from fileflux.console.commands_audit_verify import VERIFY_EXIT_CODES, as_lines, verdict
from fileflux.metadata.audit_log import Verification
from fileflux.metadata.audit_verify import Everywhere
from fileflux.metadata.chain import ChainFault

EXAMPLE: Final = re.compile(r"^ *Example: fileflux (.+)$", re.MULTILINE)
WITHOUT_JSON: Final = {"run"}
"""It becomes the service, which logs JSON by itself."""


def _leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, child in command.commands.items():
        yield from _leaves(child, (*path, name))


COMMANDS: Final = dict(_leaves(typer.main.get_command(app)))
every_command = pytest.mark.parametrize("name", COMMANDS)


@every_command
def test_every_command_has_an_example_that_it_understands(name: str) -> None:
    examples = EXAMPLE.findall(COMMANDS[name].help)

    assert examples
    for example in examples:
        assert example == name or example.startswith(f"{name} ")
        arguments = shlex.split(example.removeprefix(name))
        COMMANDS[name].make_context(name, arguments)


@every_command
def test_every_command_says_how_it_ends_and_what_it_takes(name: str) -> None:
    command = COMMANDS[name]

    assert command.epilog == (VERIFY_EXIT_CODES if name == "audit verify" else EXIT_CODES)
    assert [one.name for one in command.params if not getattr(one, "help", "")] == []


@every_command
def test_every_command_that_tells_something_speaks_json(name: str) -> None:
    options = [option for one in COMMANDS[name].params for option in one.opts]

    assert ("--json" in options) == (name not in WITHOUT_JSON)


class Asked:
    """Takes the place of the database: remembers the password."""

    password: str | None = ""

    async def create_user(self, name: str, password: str | None) -> dict[str, str]:
        self.password = password
        return {"user": name}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    made = Asked()

    def run(_data_dir: object, _as_json: bool, ask: Any) -> None:
        coroutine = ask(made)
        with pytest.raises(StopIteration):
            coroutine.send(None)

    monkeypatch.setattr(commands_admin, "_run", run)
    monkeypatch.delenv("FILEFLUX_NEW_PASSWORD", raising=False)
    return made


def _create(*options: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, ["admin", "user", "create", "alice", *options], input=stdin)


def test_a_password_may_come_from_standard_input_or_a_file(asked: Asked, tmp_path: Any) -> None:
    (tmp_path / "secret").write_text("from a file\nnot this\n")
    passwords = []
    for source, stdin in (("-", "from a pipe\n"), (str(tmp_path / "secret"), "")):
        assert _create("--password-file", source, stdin=stdin).exit_code == 0
        passwords.append(asked.password)

    assert passwords == ["from a pipe", "from a file"]


def test_a_password_may_come_from_the_environment(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FILEFLUX_NEW_PASSWORD", "from the environment")

    assert _create().exit_code == 0
    assert asked.password == "from the environment"


def test_a_password_may_be_asked_for_twice(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["typed in", "typed in", "typed in", "mistyped"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))

    assert _create("--ask-password").exit_code == 0
    assert asked.password == "typed in"
    assert _create("--ask-password").exit_code == 2


def test_without_any_the_password_is_left_to_chance(asked: Asked) -> None:
    assert _create().exit_code == 0
    assert asked.password is None


def test_a_password_on_the_command_line_warns(asked: Asked) -> None:
    """The process list shows it to everybody on the machine."""
    result = _create("--password", "for all to see")

    assert asked.password == "for all to see"
    assert "warning" in result.stderr
    assert "--password-file" in result.stderr


@pytest.mark.parametrize(
    "options",
    [("--password-file", "/does/not/exist"), ("--password", "x", "--ask-password")],
    ids=["no such file", "two at once"],
)
def test_a_password_that_cannot_be_had_is_a_wrong_question(
    asked: Asked, options: tuple[str, ...]
) -> None:
    result = _create(*options)

    assert result.exit_code == 2
    assert asked.password == ""
    assert "Traceback" not in result.stderr


def test_an_empty_first_line_is_no_password(asked: Asked) -> None:
    assert _create("--password-file", "-", stdin="\n").exit_code == 2


def test_what_is_not_published_yet_is_said_and_not_called_broken() -> None:
    late = "\n".join(verdict("topic", Verification(7, (), unpublished=3)))
    broken = "\n".join(verdict("topic", Verification(7, (ChainFault(4, "missing"),))))

    assert "whole" in late
    assert "3 more are numbered and not published yet" in late
    assert "broken" in broken
    assert "position 4: missing" in broken


def test_a_person_reads_what_is_signed_and_what_was_not_looked_at() -> None:
    whole = Verification(7, ())
    found = Everywhere(whole, whole, None, Verification(0, ()), signed_to=0, not_looked_at=5)
    lines = "\n".join(as_lines(found))
    assert "signed    nothing" in lines
    assert "5 records, not looked at: set FILEFLUX_ARCHIVE_URL" in lines

    signed = replace(found, archive=whole, checkpoints=Verification(2, ()), signed_to=7)
    lines = "\n".join(as_lines(signed))
    assert "signed    2 checkpoints, whole\n  up to position 7" in lines
    assert "archive   7 records, whole" in lines
    assert signed.is_whole
    assert not replace(signed, archive=Verification(1, (ChainFault(4, "missing"),))).is_whole
