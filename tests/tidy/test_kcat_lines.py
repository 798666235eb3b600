"""Lines for kcat in the documentation: not every machine has it, so options are checked by name."""

import re
import shlex
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted((ROOT / "docs").rglob("*.md"))
TAKE_A_VALUE: Final = frozenset("GtpbDKcmFXdzkHofsr")
FLAGS: Final = frozenset("CPLQqvEVhlTZeJu")
"""Of kcat 1.7.1, from `kcat -h` and kcat(1)."""


def lines() -> list[str]:
    found = [line for page in PAGES for line in page.read_text().splitlines()]
    return [re.split(r" [|>#] ", line)[0] for line in found if line.startswith("kcat ")]


def unknown_options(line: str) -> list[str]:
    """What kcat would not take: an option that it does not have, or a value that is missing."""
    words = iter(shlex.split(line)[1:])
    wrong = []
    for word in words:
        if re.fullmatch(r"-[A-Za-z]", word) is None:
            wrong.append(word)
        elif word[1] in TAKE_A_VALUE:
            if next(words, None) is None:
                wrong.append(word)
        elif word[1] not in FLAGS:
            wrong.append(word)
    return wrong


def test_every_kcat_line_has_options_of_kcat() -> None:
    assert len(lines()) >= 5
    assert {line: wrong for line in lines() if (wrong := unknown_options(line))} == {}


def test_a_wrong_option_is_found() -> None:
    assert unknown_options("kcat -C -y -b localhost") == ["-y"]
    assert unknown_options("kcat -C --broker x") == ["--broker", "x"]
    assert unknown_options("kcat -C -t") == ["-t"]
