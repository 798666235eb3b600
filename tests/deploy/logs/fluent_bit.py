"""Parts of Fluent Bit's configuration, run by the engines that it has: Oniguruma and LuaJIT.

Fluent Bit itself cannot be had here; what it does between these parts is not run.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import onigurumacffi
import yaml
from lupa.luajit21 import LuaRuntime

ROOT: Final = Path(__file__).parents[3]
FILES: Final = ROOT / "helm/logging/files/fluent-bit"
CONFIG: Final = yaml.safe_load((FILES / "fluent-bit.yaml").read_text())
PARSERS: Final = {one["name"]: one for one in CONFIG["parsers"]}
Record = dict[str, Any]


def parsed(parser: str, line: str) -> Record | None:
    """Return what a parser of regular expressions makes of a line; None: it does not fit."""
    pattern = PARSERS[parser]["regex"]
    match = onigurumacffi.compile(pattern).search(line)
    if match is None:
        return None
    names = re.findall(r"\(\?<(\w+)>", pattern)
    found = {name: match.group(index) for index, name in enumerate(names, 1)}
    whole = {
        word.split(":")[0]
        for word in PARSERS[parser].get("types", "").split()
        if ":integer" in word
    }
    kept = {name: value for name, value in found.items() if value}
    return {name: int(value) if name in whole else value for name, value in kept.items()}


def first_parsed(line: str) -> tuple[str, Record] | None:
    """Return which parser fits a line first, of those made of regular expressions."""
    order = next(one for one in CONFIG["pipeline"]["filters"] if one["name"] == "parser")["parser"]
    for name in order:
        if PARSERS[name]["format"] == "regex" and (record := parsed(name, line)) is not None:
            return name, record
    return None


def joined(lines: Iterable[str]) -> list[str]:
    """Return the lines as the multiline parser joins them: a state for each rule that fits."""
    rules = [
        (one["state"], onigurumacffi.compile(one["regex"][1:-1]), one["next_state"])
        for one in CONFIG["multiline_parsers"][0]["rules"]
    ]
    records: list[list[str]] = []
    state = ""
    for line in lines:
        follows = [goes for at, fits, goes in rules if at == state and fits.search(line)]
        starts = [goes for at, fits, goes in rules if at == "start_state" and fits.search(line)]
        if follows:
            records[-1].append(line)
        else:
            records.append([line])
        state = (follows or starts or [""])[0]
    return ["\n".join(record) for record in records]


class Lua:
    """A script of Fluent Bit's, and its function."""

    def __init__(self, name: str) -> None:
        self._lua = LuaRuntime(unpack_returned_tuples=True)
        self._lua.execute((FILES / f"{name}.lua").read_text())
        self._call = self._lua.globals()[name]

    def __call__(self, record: Record) -> Record:
        code, timestamp, kept = self._call(
            "kube.a", 1.5, self._lua.table_from(record, recursive=True)
        )
        assert (code, timestamp) == (2, 1.5)
        return dict(_plain(kept))


def _plain(value: Any) -> Any:
    if not hasattr(value, "items"):
        return value
    items = {name: _plain(inner) for name, inner in value.items()}
    if items and set(items) == set(range(1, len(items) + 1)):
        return [items[index] for index in sorted(items)]
    return items
