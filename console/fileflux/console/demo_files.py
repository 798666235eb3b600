"""The files of the demo: a real directory, and a few made ones of every interesting size."""

import os
import random
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MADE_SIZES: Final = (0, 1, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1, (8 << 20) + 1, 64 << 20)
LARGEST: Final = 300_000_000
SEED: Final = 20_261_125


@dataclass(slots=True)
class DemoFiles:
    """`files`: (key, path). `skipped`: why → how many."""

    files: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    total_bytes: int = 0

    def add(self, key: str, path: str, size: int) -> None:
        self.files.append((key, path))
        self.total_bytes += size


def collect(source: Path, made: Path, *, bytes_max: int, files_max: int) -> DemoFiles:
    """The made files first, then the source's up to the limits; what is skipped is counted."""
    found = DemoFiles()
    for path in make_files(made):
        found.add(f"made/{path.name}", str(path), path.stat().st_size)
    source_bytes = 0
    for path in _walk(source):
        size, problem = _inspect(path)
        if problem:
            found.skipped[problem] += 1
        elif source_bytes + size > bytes_max or len(found.files) >= files_max:
            found.skipped["beyond the size asked for"] += 1
        else:
            source_bytes += size
            found.add(f"python/{path.relative_to(source)}", str(path), size)
    return found


def make_files(directory: Path) -> list[Path]:
    """Files with seeded random bytes; those that are there already stay."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for size in (*MADE_SIZES, LARGEST):
        path = directory / f"{size}-bytes.bin"
        if not path.exists() or path.stat().st_size != size:
            _write_random(path, size)
        paths.append(path)
    return paths


def _write_random(path: Path, size: int) -> None:
    rng = random.Random(SEED + size)
    with path.open("wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(rng.randbytes(min(1 << 20, size - start)))


def _walk(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in sorted(names):
            yield Path(directory, name)


def _inspect(path: Path) -> tuple[int, str]:
    """(size, why it is skipped or an empty text)."""
    try:
        str(path).encode()
        facts = path.lstat()
    except UnicodeEncodeError:
        return 0, "name is not UTF-8"
    except OSError:
        return 0, "unreadable"
    if stat.S_ISLNK(facts.st_mode):
        return 0, "link"
    if not stat.S_ISREG(facts.st_mode):
        return 0, "no regular file"
    return (facts.st_size, "") if os.access(path, os.R_OK) else (0, "unreadable")
