"""Keep today's schemas as released: `make release-schemas`, once a release, before its tag.

What is kept in `schemas/v1` is promised: tests compare every later change with it. Nothing is
written, and the status is 1, when today's break a promise of those that are there.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tools import channel_compatibility, schema_compatibility, wire_compatibility

from fileflux.console.event_schemas import CHANNELS, PIPELINE, files, published
from fileflux.core.json_schema import VERSION

RULES: Final = {
    PIPELINE: wire_compatibility.problems,
    CHANNELS: channel_compatibility.problems,
}
"""Of what is no JSON Schema."""
RELEASED: Final = Path(__file__).parents[1] / "schemas" / f"v{VERSION}"


def broken_promises(released: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each promise of `released` (schema by name) that today's break."""
    found = []
    now = published()
    for name, old in sorted(released.items()):
        if name not in now:
            found.append(f"{name} was removed. {schema_compatibility.ADVICE}")
            continue
        problems = RULES.get(name, schema_compatibility.problems)
        found += [f"{name}: {said}" for said in problems(old, now[name]())]
    return found


def released_schemas() -> dict[str, Any]:
    """Return what was released, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RELEASED.glob("*.json"))}


def main() -> int:
    broken = broken_promises(released_schemas())
    for said in broken:
        print(said, file=sys.stderr)
    if broken:
        return 1
    RELEASED.mkdir(parents=True, exist_ok=True)
    for name, render in files().items():
        (RELEASED / name).write_text(render())
    return 0


if __name__ == "__main__":
    sys.exit(main())
