"""Settings out of files: `NAME_FILE=/run/secrets/name` in place of `NAME=value`.

Orchestrators hand secrets to a process as files, since an environment is seen by whoever may
inspect the container. Any setting may be given so; problems are listed with all others.
"""

import os
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings

SUFFIX: Final = "_FILE"
VALUE_BYTES_MAX: Final = 64 * 1024


def values_from_files(cls: type[BaseSettings]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values that files give, and what is wrong with others; both by the setting's name.

    Values are never part of a problem's sentence.
    """
    values: dict[str, str] = {}
    problems: dict[str, str] = {}
    names = {str(field.alias) for field in cls.model_fields.values() if field.alias}
    for name in sorted(names):
        path = os.environ.get(name + SUFFIX, "")
        if not path or name + SUFFIX in names:
            continue
        value, problem = _read(Path(path), is_given_too=bool(os.environ.get(name)))
        if problem:
            problems[name] = f"{name}{SUFFIX}: {problem}"
        else:
            values[name] = value
    return values, problems


def _read(path: Path, *, is_given_too: bool) -> tuple[str, str]:
    """Return (value, "") or ("", what is wrong)."""
    if is_given_too:
        return "", "the variable without _FILE is set too; give one of them"
    try:
        if path.exists() and not path.is_file():
            return "", f"{path} is no file"
        with path.open("rb") as file:
            raw = file.read(VALUE_BYTES_MAX + 1)
        if len(raw) > VALUE_BYTES_MAX:
            return "", f"{path} is larger than {VALUE_BYTES_MAX} bytes"
        # Editors and `echo` end a file with a line's end, which is no part of a secret.
        value = raw.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        return "", f"{path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        return "", f"{path} is not text in UTF-8"
    if not value or "\x00" in value:
        return "", f"{path} is empty" if not value else f"{path} holds a zero byte"
    return value, ""
