"""Get the tools that check the deployment's files, and print where they are.

    python tools/deploy_tools.py --list
    python tools/deploy_tools.py helm tofu

Each is built once from a pinned Go module, or unpacked from Debian's package, into the cache under
its version, so a second call costs nothing. A module's digest stands beside its version, like a
line of go.sum: what was changed after the pin is refused.
"""

import argparse
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.build_sqlcheck import CACHE_DIR, ROOT, find_go, go_environment

TOOLS_DIR: Final = CACHE_DIR / "deploy-tools"
WRAPPERS_DIR: Final = ROOT / "tools" / "go"
"""Modules of our own that name a command of another, for those that cannot be built alone."""


@dataclass(frozen=True)
class GoTool:
    """A command of a Go module. `digest` is the module's line in go.sum; `cost` is said before."""

    module: str
    version: str
    digest: str
    package: str
    cost: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrappedTool:
    """A command built by a module of ours, tools/go/NAME, whose go.sum pins all it is made of."""

    package: str
    version: str
    cost: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DebianTool:
    """A command of a Debian package, unpacked without installing: no service starts."""

    package: str
    path: str


Tool = GoTool | WrappedTool | DebianTool

TOOLS: Final[dict[str, Tool]] = {
    "helm": GoTool(
        "helm.sh/helm/v3",
        "v3.22.0",
        "h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=",
        "./cmd/helm",
        "about 1 minute",
        ("-X=helm.sh/helm/v3/internal/version.version=v3.22.0",),
    ),
    "tofu": GoTool(
        "github.com/opentofu/opentofu",
        "v1.12.6",
        "h1:0VT4P8pMmGcCUnQ9JDrJ+Qg2d35Vzm4FFd/9+H7oF98=",
        "./cmd/tofu",
        "about 3 minutes",
        ("-X=github.com/opentofu/opentofu/version.dev=no",),
    ),
    "prometheus": DebianTool("prometheus", "usr/bin/prometheus"),
    "promtool": DebianTool("prometheus", "usr/bin/promtool"),
}


class ToolUnavailable(Exception):
    """A tool cannot be had; the text says what was tried."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TOOLS)}")
    parser.add_argument("--list", action="store_true", help="what there is, with versions")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(TOOLS)
    if unknown:
        parser.error(f"no such tool: {', '.join(sorted(unknown))}; there are {', '.join(TOOLS)}")
    if arguments.list or not arguments.names:
        print("\n".join(f"{name}\t{_described(tool)}" for name, tool in TOOLS.items()))
    try:
        for name in arguments.names:
            print(path_of(name), flush=True)
    except ToolUnavailable as error:
        sys.exit(f"deploy_tools: {error}")


def path_of(name: str) -> Path:
    """Return the tool's executable, which is made first where it is missing.

    Raises ToolUnavailable with the last lines of what failed.
    """
    tool = TOOLS[name]
    binary = _binary(name, tool)
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(binary):
            if not binary.exists():
                _make(name, tool, binary)
    return binary


def _binary(name: str, tool: Tool) -> Path:
    match tool:
        case GoTool() | WrappedTool():
            return TOOLS_DIR / f"{name}-{tool.version}" / name
        case DebianTool():
            return TOOLS_DIR / f"debian-{tool.package}" / tool.path


@contextmanager
def _one_at_a_time(binary: Path) -> Iterator[None]:
    """Two suites that want one tool build it once."""
    with Path(f"{binary}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(name: str, tool: Tool, binary: Path) -> None:
    match tool:
        case GoTool():
            _say(f"building {name} {tool.version}, {tool.cost}")
            _build(_source_of(tool), tool, binary)
        case WrappedTool():
            _say(f"building {name} {tool.version}, {tool.cost}")
            _build(WRAPPERS_DIR / name, tool, binary)
        case DebianTool():
            _say(f"unpacking Debian's {tool.package}")
            _unpack(tool)


def _source_of(tool: GoTool) -> Path:
    """Download the module into Go's cache; go.mod of the module itself pins the rest."""
    wanted = f"{tool.module}@{tool.version}"
    answer = json.loads(_run([_go(), "mod", "download", "-json", wanted], may_fail=True) or "{}")
    if "Dir" not in answer:
        raise ToolUnavailable(f"{wanted}: {answer.get('Error', 'no answer')}")
    if answer["Sum"] != tool.digest:
        raise ToolUnavailable(f"{wanted} is {answer['Sum']}, but {tool.digest} is pinned")
    return Path(answer["Dir"])


def _build(source: Path, tool: GoTool | WrappedTool, binary: Path) -> None:
    draft = binary.with_suffix(".draft")
    flags = " ".join(("-s", "-w", *tool.flags))
    command = [_go(), "build", "-trimpath", f"-ldflags={flags}", "-o", str(draft), tool.package]
    _run(command, directory=source)
    draft.replace(binary)


def _unpack(tool: DebianTool) -> None:
    """`apt-get download` needs no root and installs nothing."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise ToolUnavailable(
            f"{tool.package} comes from Debian's packages, and apt-get is missing"
        )
    folder = TOOLS_DIR / f"debian-{tool.package}"
    _run([apt, "download", "-qq", tool.package], directory=folder)
    for archive in folder.glob(f"{tool.package}_*.deb"):
        _run(["dpkg-deb", "--extract", str(archive), str(folder)])
        archive.unlink()


def _run(command: list[str], *, directory: Path | None = None, may_fail: bool = False) -> str:
    done = subprocess.run(  # noqa: S603  # Go, apt-get, dpkg-deb.
        command, cwd=directory, env=go_environment(), capture_output=True, text=True, check=False
    )
    if done.returncode and not may_fail:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise ToolUnavailable(f"{' '.join(command)} ended with {done.returncode}:\n{tail}")
    return done.stdout


def _go() -> str:
    return str(find_go())


def _described(tool: Tool) -> str:
    match tool:
        case GoTool():
            return f"{tool.module} {tool.version} ({tool.cost})"
        case WrappedTool():
            return f"{tool.package} {tool.version} ({tool.cost})"
        case DebianTool():
            return f"Debian's package {tool.package}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
