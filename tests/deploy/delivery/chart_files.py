"""What every chart's folder has to have: comments, schema, and a linter that is content."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from tools.deploy_tools import path_of

ROOT: Final = Path(__file__).parents[3]


def lint_problems(chart: str, values: str) -> str:
    """Return what `helm lint --strict` says; empty when it is content."""
    folder = ROOT / "helm" / chart
    command = [str(path_of("helm")), "lint", "--strict", "--quiet", str(folder)]
    done = subprocess.run(
        [*command, "--values", str(folder / values)], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def uncommented(chart: str) -> list[str]:
    """Return the lines of values.yaml that no comment above explains.

    A line of a group of alike keys (requests and limits, repository and tag) may share one.
    """
    lines = (ROOT / "helm" / chart / "values.yaml").read_text().splitlines()
    return [line for line, before in _keys(lines) if not before.strip().startswith("#")]


def _keys(lines: list[str]) -> Iterator[tuple[str, str]]:
    shared = re.compile(r"^\s+(requests|limits|type|encrypted|app\.kubernetes\.io/[a-z-]+):")
    for before, line in zip(["", *lines], lines, strict=False):
        if not re.match(r"^\s*[\w.-]+:", line) or shared.match(line):
            continue
        if line.rstrip().endswith(":"):  # A group is explained above it, or by its parts.
            continue
        yield line, before


def undescribed(chart: str) -> list[str]:
    """Return paths of values that the schema does not know."""
    folder = ROOT / "helm" / chart
    schema = json.loads((folder / "values.schema.json").read_text())
    values = yaml.safe_load((folder / "values.yaml").read_text())
    return sorted(set(values) - set(schema["properties"]))


def is_closed(schema: dict[str, Any]) -> bool:
    return schema.get("additionalProperties") is False
