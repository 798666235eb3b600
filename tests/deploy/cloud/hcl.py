"""Terraform's files as data, read without a provider.

The environment of the deployment's tools has a parser (checkov brings it); it runs there, since
the developers' environment need not have it. It wraps each attribute's value in a list, as blocks
may repeat: `value` takes that off.
"""

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tools.deploy_tools import PYTHON_TOOLS_DIR

ROOT: Final = Path(__file__).parents[3]
TERRAFORM: Final = ROOT / "terraform"
LABELS: Final = {"resource": 2, "data": 2, "ephemeral": 2, "variable": 1, "output": 1, "module": 1}
PARSE: Final = """
import hcl2, json, sys
print(json.dumps({path: hcl2.loads(open(path).read()) for path in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Block:
    """One block at the top of a file: `resource "aws_vpc" "this" {...}`."""

    path: Path
    kind: str
    labels: tuple[str, ...]
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{_shown(self.path)}: {self.kind} {' '.join(self.labels)}"

    def value(self, name: str) -> Any:
        """Return an attribute's value, or the first block of that name; None if there is none."""
        return value(self.body, name)


@cache
def blocks(folder: Path = TERRAFORM) -> tuple[Block, ...]:
    """Return all blocks of all .tf files below, in the files' order."""
    files = sorted(folder.rglob("*.tf"))
    command = [str(PYTHON_TOOLS_DIR / "python"), "-c", PARSE, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return tuple(
        Block(Path(path), kind, labels, body)
        for path, document in json.loads(done.stdout).items()
        for kind, found in document.items()
        for one in found
        for labels, body in _unfold(one, LABELS.get(kind, 0))
    )


def of_kind(kind: str, folder: Path = TERRAFORM) -> list[Block]:
    """Return the blocks of one kind: `resource`, `data`, `variable`, `output` ..."""
    return [one for one in blocks(folder) if one.kind == kind]


def value(body: dict[str, Any], name: str) -> Any:
    """Return what an attribute or the first nested block of that name is."""
    found = body.get(name)
    return found[0] if isinstance(found, list) and found else found


def nested(body: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the nested blocks of that name, those of a `dynamic` block included."""
    made = [one[name] for one in body.get("dynamic", []) if name in one]
    plain = [one for one in body.get(name, []) if isinstance(one, dict)]
    return plain + [value(one, "content") for one in made]


def modules(folder: Path = TERRAFORM) -> list[Path]:
    """Return each module's folder."""
    return sorted({path.parent for path in (folder / "modules").glob("*/*.tf")})


def roots(folder: Path = TERRAFORM) -> list[Path]:
    """Return what `tofu apply` is run in: whoever has a provider block."""
    return sorted({one.path.parent for one in of_kind("provider", folder)})


def source(block: Block) -> str:
    """Return the block's own lines: comments are in no parsed document."""
    labels = " ".join(f'"{one}"' for one in block.labels)
    head = re.escape(f"{block.kind} {labels} {{" if labels else f"{block.kind} {{")
    found = re.search(rf"^{head}.*?^}}", block.path.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{block} is not written as fmt writes it"
    return found[0]


def _unfold(body: dict[str, Any], depth: int) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    if depth == 0:
        return [((), body)]
    return [
        ((label, *rest), inner)
        for label, below in body.items()
        for rest, inner in _unfold(below, depth - 1)
    ]


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
