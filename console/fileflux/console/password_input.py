"""A new user's password, read from where other users of the machine do not see it.

What is on a command line stands in the process list, and in the shell's history.
"""

import getpass
import os
import sys
from pathlib import Path
from typing import Final

PASSWORD_VARIABLE: Final = "FILEFLUX_NEW_PASSWORD"  # noqa: S105  # A name, no password.
STANDARD_INPUT: Final = "-"


class PasswordProblem(Exception):
    """No password came. The message says why."""


def read_password(*, given: str, file: str, ask: bool) -> str | None:
    """The one that was given, or is in the file's first line, asked for, or in the environment.

    None without any of them. `file` may be `-`. Raise PasswordProblem.
    """
    if sum((bool(given), bool(file), ask)) > 1:
        raise PasswordProblem("choose one of --password-file, --ask-password and --password")
    if given:
        return given
    if file:
        return _first_line(file)
    if ask:
        return _asked()
    return os.environ.get(PASSWORD_VARIABLE) or None


def _first_line(file: str) -> str:
    try:
        text = sys.stdin.readline() if file == STANDARD_INPUT else _read(Path(file))
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordProblem(f"the password cannot be read: {error}") from error
    password = text.partition("\n")[0].rstrip("\r")
    if not password:
        raise PasswordProblem("the first line, where the password should be, is empty")
    return password


def _read(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        return file.readline()


def _asked() -> str:
    try:
        first = getpass.getpass("New password: ")
        second = getpass.getpass("Again: ")
    except EOFError:
        raise PasswordProblem("nobody is there to be asked; use --password-file") from None
    if first != second:
        raise PasswordProblem("that was not the same twice")
    return first
