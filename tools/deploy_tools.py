"""Get the tools that tests drive, and print where they are.

    python tools/deploy_tools.py --list
    python tools/deploy_tools.py helm tofu

Each is built once from a pinned Go module, or unpacked from Debian's package, into the cache under
its version, so a second call costs nothing. A module's digest stands beside its version, like a
line of go.sum: what was changed after the pin is refused.
"""

import argparse
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.bootstrap import ENVIRONMENTS
from tools.go_modules import CACHE_DIR, ROOT, Module, ToolUnavailable, find_go, module_dir, run

TOOLS_DIR: Final = CACHE_DIR / "deploy-tools"
PYTHON_TOOLS_DIR: Final = ENVIRONMENTS["deploy"].python.parent
"""Where ansible, checkov, hadolint and yamllint are, in an environment of their own."""
WRAPPERS_DIR: Final = ROOT / "tools" / "go"
"""Modules of our own that name a command of another, for those that cannot be built alone."""


@dataclass(frozen=True)
class GoTool:
    """A command of a Go module; `cost` is said before it is paid."""

    module: Module
    package: str
    cost: str
    flags: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        return self.module.version


@dataclass(frozen=True)
class WrappedTool:
    """A command built by a module of ours, tools/go/FOLDER: its go.sum pins all of it."""

    folder: str
    package: str
    version: str
    cost: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DebianTool:
    """A command of a Debian package, unpacked without installing: no service starts."""

    package: str
    path: str


KUBERNETES: Final = (
    "-X=k8s.io/component-base/version.gitVersion=v1.36.3",
    "-X=k8s.io/component-base/version.gitMajor=1",
    "-X=k8s.io/component-base/version.gitMinor=36",
)
"""An API server without a version refuses to start."""

Tool = GoTool | WrappedTool | DebianTool

TOOLS: Final[dict[str, Tool]] = {
    "helm": GoTool(
        Module("helm.sh/helm/v3", "v3.22.0", "n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU="),
        "./cmd/helm",
        "about 1 minute",
        ("-X=helm.sh/helm/v3/internal/version.version=v3.22.0",),
    ),
    "tofu": GoTool(
        Module(
            "github.com/opentofu/opentofu",
            "v1.12.6",
            "0VT4P8pMmGcCUnQ9JDrJ+Qg2d35Vzm4FFd/9+H7oF98=",
        ),
        "./cmd/tofu",
        "about 3 minutes",
        ("-X=github.com/opentofu/opentofu/version.dev=no",),
    ),
    # 5.6.0 and etcd 3.6 are the newest that Go 1.26.8 builds.
    "compose": GoTool(
        Module(
            "github.com/docker/compose/v5",
            "v5.6.0",
            "WCDEV0D1CtZLyPdklHdEjFBnCStosBYkfsD3tvM/ITU=",
        ),
        "./cmd",
        "about 3 minutes",
        ("-X=github.com/docker/compose/v5/internal.Version=v5.6.0",),
    ),
    "etcd": WrappedTool("etcd", ".", "v3.6.10", "about 1 minute"),
    "kube-apiserver": WrappedTool(
        "kubernetes", "./kube-apiserver", "v1.36.3", "about 5 minutes", KUBERNETES
    ),
    "kubectl": WrappedTool("kubernetes", "./kubectl", "v1.36.3", "about 1 minute", KUBERNETES),
    # The newest that the Go proxy gives.
    "packer": GoTool(
        Module(
            "github.com/hashicorp/packer",
            "v1.11.2",
            "yiJm1DHCHuSySZW8jfjTGzNkWBsBgJ+vnAcGMHZ4PXI=",
        ),
        ".",
        "about 2 minutes",
    ),
    # CockroachDB's own parser as a command, for the tests of our SQL.
    "sqlcheck": WrappedTool("sqlcheck", ".", "v1", "about 2 minutes"),
    "schema-provider": WrappedTool("schema-provider", ".", "v1", "half a minute"),
    "prometheus": DebianTool("prometheus", "usr/bin/prometheus"),
    "promtool": DebianTool("prometheus", "usr/bin/promtool"),
}


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
    binary = place_of(name)
    if not binary.exists():
        binary.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(binary):
            if not binary.exists():
                _make(name, tool, binary)
    return binary


def place_of(name: str) -> Path:
    """Return where the tool's executable is, or would be: nothing is made."""
    tool = TOOLS[name]
    match tool:
        case GoTool():
            return TOOLS_DIR / f"{name}-{tool.version}" / name
        case WrappedTool():
            return TOOLS_DIR / f"{name}-{tool.version}-{_digest(tool)}" / name
        case DebianTool():
            return TOOLS_DIR / f"debian-{tool.package}" / tool.path


def _digest(tool: WrappedTool) -> str:
    """A source of ours that changed is built again."""
    paths = sorted((WRAPPERS_DIR / tool.folder).rglob("*"))
    text = b"".join(path.read_bytes() for path in paths if path.suffix in (".go", ".mod", ".sum"))
    return hashlib.sha256(text).hexdigest()[:8]


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
            _build(module_dir(tool.module), tool, binary)
        case WrappedTool():
            _say(f"building {name} {tool.version}, {tool.cost}")
            _build(WRAPPERS_DIR / tool.folder, tool, binary)
        case DebianTool():
            _say(f"unpacking Debian's {tool.package}")
            _unpack(tool)


def _build(source: Path, tool: GoTool | WrappedTool, binary: Path) -> None:
    draft = binary.with_suffix(".draft")
    flags = " ".join(("-s", "-w", *tool.flags))
    command = [
        str(find_go()),
        "build",
        "-trimpath",
        f"-ldflags={flags}",
        "-o",
        str(draft),
        tool.package,
    ]
    run(command, directory=source)
    draft.replace(binary)


def _unpack(tool: DebianTool) -> None:
    """`apt-get download` needs no root and installs nothing."""
    apt = shutil.which("apt-get")
    if apt is None:
        raise ToolUnavailable(f"{tool.package} is a package of Debian's, and apt-get is missing")
    folder = TOOLS_DIR / f"debian-{tool.package}"
    try:
        run([apt, "download", "-qq", tool.package], directory=folder)
    except ToolUnavailable:
        _download_by_lists_of_our_own(apt, tool, folder)
    for archive in folder.glob(f"{tool.package}_*.deb"):
        run(["dpkg-deb", "--extract", str(archive), str(folder)])
        archive.unlink()


def _download_by_lists_of_our_own(apt: str, tool: DebianTool, folder: Path) -> None:
    """A fresh machine has no lists of packages, and to update its own would need root."""
    state, cache = folder / "apt-state", folder / "apt-cache"
    for directory in (state / "lists/partial", cache / "archives/partial"):
        directory.mkdir(parents=True, exist_ok=True)
    own = [f"-oDir::State={state}", f"-oDir::Cache={cache}", "-oDebug::NoLocking=1"]
    own += ["-oDir::State::status=/var/lib/dpkg/status", "-oAPT::Sandbox::User=root"]
    run([apt, *own, "update", "-qq"])
    run([apt, *own, "download", "-qq", tool.package], directory=folder)
    shutil.rmtree(state)
    shutil.rmtree(cache)


def _described(tool: Tool) -> str:
    match tool:
        case GoTool():
            return f"{tool.module.path} {tool.version} ({tool.cost})"
        case WrappedTool():
            return f"{tool.package} {tool.version} ({tool.cost})"
        case DebianTool():
            return f"Debian's package {tool.package}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
