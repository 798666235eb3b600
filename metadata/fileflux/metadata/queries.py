"""The statements of the `*queries.sql` files by name, and several writes as one statement.

A transaction's writes go to the database together: each becomes a CTE of one statement, its
parameters numbered on. That is one round trip, and as many plans as there are sets of tables that
are written together. CockroachDB lets one statement change a table once, so the names differ by
table.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

_NAME: Final = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_PARAMETER: Final = re.compile(r"\$(\d+)")


@cache
def statements() -> Mapping[str, str]:
    """Return every named statement, without comments and without its semicolon."""
    found: dict[str, str] = {}
    for path in files(__package__).iterdir():
        if path.name.endswith("queries.sql"):
            _, *sections = _NAME.split(path.read_text())
            found.update(zip(sections[::2], sections[1::2], strict=True))
    return {name: _without_comments(body) for name, body in found.items()}


def statement(name: str) -> str:
    """Return the statement with this name; a wrong name is our bug (KeyError)."""
    return statements()[name]


@cache
def together(names: tuple[str, ...]) -> str:
    """Return one statement that runs these writes and tells how many rows each returned."""
    shift, ctes = 0, []
    for number, name in enumerate(names):
        text = statement(name)
        ctes.append(f"q{number} AS ({_shifted(text, shift)})")
        shift += parameter_count(name)
    counts = [f"(SELECT count(*) FROM q{n})" for n in range(len(names))]  # noqa: S608  # Our own.
    return f"WITH {', '.join(ctes)} SELECT {', '.join(counts)}"


@cache
def parameter_count(name: str) -> int:
    """Return the largest parameter number of a statement."""
    return max((int(number) for number in _PARAMETER.findall(statement(name))), default=0)


def statements_of(text: str) -> Sequence[str]:
    """Return the statements of a migration file, one after another."""
    return [part for part in (p.strip() for p in _without_comments(text).split(";")) if part]


def _shifted(text: str, shift: int) -> str:
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + shift}", text)


def _without_comments(text: str) -> str:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().removesuffix(";").strip()
