"""The limits page quotes the code; this test holds the two together."""

import importlib
import re
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "limits.md"
ROW: Final = re.compile(
    r"^\| ([0-9]+(?: [KMG]iB)?) \| .+? \| `([a-z0-9_.]+)\.(\w+)` \|$", re.MULTILINE
)
CLASS_ROW: Final = re.compile(
    r"^\| ([0-9]+(?: [KMG]iB)?) \| .+? \| `([a-z0-9_.]+)\.([A-Z]\w+)\.(\w+)` \|$", re.MULTILINE
)
UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def test_every_number_on_the_page_is_the_codes() -> None:
    text = PAGE.read_text()
    plain = [(said, _module(module), name) for said, module, name in ROW.findall(text)]
    inside = [
        (said, getattr(_module(module), cls), name)
        for said, module, cls, name in CLASS_ROW.findall(text)
    ]
    wrong = [
        f"{name}: the page says {said}, the code {_value(owner, name)}"
        for said, owner, name in [*plain, *inside]
        if _number(said) != _value(owner, name)
    ]
    assert wrong == []


def test_every_row_of_the_tables_of_numbers_is_compared() -> None:
    """A row that the pattern misses would be believed for ever."""
    text = PAGE.read_text()
    rows = [line for line in text.splitlines() if re.match(r"\| [0-9]", line)]
    assert len(rows) == len(ROW.findall(text)) + len(CLASS_ROW.findall(text)) > 30


def _module(name: str) -> Any:
    return importlib.import_module(f"fileflux.{name}")


def _value(owner: Any, name: str) -> Any:
    """A module's constant, or the default of a record's field."""
    fields = getattr(owner, "__dataclass_fields__", {})
    return fields[name].default if name in fields else getattr(owner, name)


def _number(said: str) -> int:
    number, _, unit = said.partition(" ")
    return int(number) * UNITS.get(unit, 1)
