"""The demo's client: an unmodified boto3 in a Python of its own stores, fetches and compares."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

from fileflux.console.demo_files import DemoFiles
from fileflux.console.demo_progress import DemoProgress

CLIENT_SCRIPT: Final = Path(__file__).with_name("demo_client.py")


@dataclass(frozen=True)
class DemoPlace:
    """Where the files go, and as whom."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str


def store_and_fetch(out: Console, place: DemoPlace, found: DemoFiles, client_python: Path) -> int:
    """Return the number of differences; -1 when the client never compared."""
    job = {**asdict(place), "files": found.files}
    with DemoProgress(out, len(found.files)) as progress:
        return _follow(_client_lines(client_python, job), progress)


def _follow(lines: Iterator[dict[str, Any]], progress: DemoProgress) -> int:
    """Return the number of differences; a client that never compared says so by -1."""
    differences = -1
    for line in lines:
        if line["phase"] in ("put", "get"):
            progress.one_more(line["phase"])
            if line.get("differs"):
                progress.say(f"[red]differs:[/red] {escape(line['key'])}")
        elif line["phase"] == "compared":
            differences = int(line["differences"])
    return differences


def _client_lines(client_python: Path, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run the client; yield what it says; raise when it fails."""
    with subprocess.Popen(  # noqa: S603  # Our own script.
        [str(client_python), "-B", str(CLIENT_SCRIPT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        json.dump(job, client.stdin)
        client.stdin.close()
        for line in client.stdout:
            yield json.loads(line)
    if client.returncode != 0:
        raise RuntimeError(f"the S3 client ended with {client.returncode}")
