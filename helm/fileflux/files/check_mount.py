"""Ends with 0 if DIRECTORY is a mount of FILESYSTEM: check_mount.py DIRECTORY FILESYSTEM.

The node's init container runs it: without the pool, the node would begin anew on the system's disk.
"""

import sys
from collections.abc import Iterable
from pathlib import Path


def filesystem_of(directory: str, lines: Iterable[str]) -> str | None:
    """Return the type of what was mounted at `directory` last; None: nothing is."""
    found = None
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[4] == directory:
            found = after.split()[0]
    return found


def main(directory: str, expected: str) -> int:
    found = filesystem_of(directory, Path("/proc/self/mountinfo").read_text().splitlines())
    if found == expected:
        return 0
    print(
        f"{directory} is {found or 'no mount'}, not {expected}: "
        "import the pool and mount its dataset on the host"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
