"""How commands print what they found: JSON for scripts, a line each for people."""

import json
from typing import Any

import typer

Answer = dict[str, Any] | list[dict[str, Any]]


def print_answer(answer: Answer, *, as_json: bool, list_name: str) -> None:
    """`list_name`: the member of the JSON object that a list becomes."""
    if as_json:
        typer.echo(json.dumps(answer if isinstance(answer, dict) else {list_name: answer}))
        return
    for one in [answer] if isinstance(answer, dict) else answer:
        for name, value in one.items():
            typer.echo(f"{name.replace('_', ' '):<16} {_text(value)}")
        if isinstance(answer, list):
            typer.echo("")


def _text(value: Any) -> str:
    """One line that a terminal may be given, whatever a key or a receiver put into it."""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(sign if sign.isprintable() else "?" for sign in text)
