"""What all commands say and take alike."""

from pathlib import Path
from typing import Annotated, Final

import typer

EXIT_CODES: Final = "Exit codes: 0 done, 1 could not (the message says why), 2 wrong arguments."
DEFAULT_DATA_DIR: Final = Path("fileflux-data")

DataDir = Annotated[Path, typer.Option("--data-dir", help="Data directory of the `dev` that runs.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object, for scripts.")]
