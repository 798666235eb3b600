"""Make `secrets/`, a file for each secret that docker-compose.yml mounts; existing ones stay.

The folder is its owner's alone. The files in it are readable, because Compose mounts each as it is
into containers whose user is not the owner. Whoever loses `master-key` loses every user's secret
key: back the folder up (docs/how-to/back-up.md).
"""

import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "secrets"
CA: Final = "sslmode=verify-full&sslrootcert=/run/db-ca/ca.crt"
RANDOM: Final[dict[str, Callable[[], str]]] = {
    # Hexadecimal: it needs quoting nowhere, neither in a URL nor in SQL.
    "database-password": lambda: secrets.token_hex(24),
    "cluster-secret": lambda: secrets.token_hex(32),
    "master-key": lambda: secrets.token_hex(32),
    "root-access-key": lambda: "FFROOT" + secrets.token_hex(7).upper(),
    "root-secret-key": lambda: secrets.token_urlsafe(30),
    "grafana-password": lambda: secrets.token_urlsafe(18),
}
DERIVED: Final[dict[str, Callable[[str], str]]] = {
    "database-url": lambda password: (
        f"postgresql://fileflux:{password}@db-1:26257,db-2:26257,db-3:26257/fileflux?{CA}"
    ),
    "postgres-url": lambda password: f"postgresql://fileflux:{password}@postgres:5432/fileflux",
}


def make(folder: Path) -> list[str]:
    """Write what is missing; return the names of what was made."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    made = [name for name, draw in RANDOM.items() if _write(folder / name, draw())]
    password = (folder / "database-password").read_text()
    return made + [name for name, tell in DERIVED.items() if _write(folder / name, tell(password))]


def _write(path: Path, value: str) -> bool:
    if path.exists():
        return False
    # A run that was broken off leaves no half secret.
    draft = path.with_suffix(".draft")
    draft.write_text(value)
    draft.chmod(0o444)
    draft.rename(path)
    return True


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    if made := make(target):
        print(f"made in {target}: {', '.join(made)}; keep them, and keep them private")
