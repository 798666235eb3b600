"""Go modules by path, version and digest, for tools and for the definitions that they publish."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools.build_sqlcheck import find_go, go_environment


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
