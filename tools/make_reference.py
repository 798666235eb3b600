"""Make the reference pages again from the code they describe: `make docs`.

With `--check` nothing is written, and the status says whether every page is current.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import fileflux.console.asyncapi as asyncapi
import fileflux.console.event_schemas as schemas
import fileflux.console.metrics_reference as metrics
import fileflux.console.settings_reference as settings
import fileflux.events.reference as events
import fileflux.ingest.openapi as openapi
import fileflux.ingest.s3_reference as s3

REFERENCE: Final = Path(__file__).parents[1] / "docs" / "reference"
PAGES: Final[dict[str, Callable[[], str]]] = {
    "asyncapi.json": asyncapi.render,
    "events.md": events.render,
    "metrics.md": metrics.render,
    "s3.md": s3.render,
    "settings.md": settings.render,
    "webhooks-openapi.json": openapi.render,
    **{f"schemas/{name}": text for name, text in schemas.files().items()},
}


def stale_pages() -> list[str]:
    """Return the pages that differ from what the code says now."""
    return [name for name, render in PAGES.items() if _text(REFERENCE / name) != render()]


def main(arguments: list[str]) -> int:
    stale = stale_pages()
    for name in stale:
        if "--check" not in arguments:
            (REFERENCE / name).write_text(PAGES[name]())
        print(name)
    return int(bool(stale) and "--check" in arguments)


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
