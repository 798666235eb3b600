"""Make `.env` with random secrets for docker-compose.yml, once; an existing file is left alone.

Only its owner may read it. Whoever loses FILEFLUX_MASTER_KEY loses every user's secret key: back
the file up (docs/how-to/back-up.md).
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Final

ENV_FILE: Final = Path(__file__).parents[1] / ".env"


def fresh_secrets() -> dict[str, str]:
    """Return every secret that the compose file asks for; none needs quoting in a URL."""
    return {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "FILEFLUX_CLUSTER_SECRET": secrets.token_hex(32),
        "FILEFLUX_MASTER_KEY": secrets.token_hex(32),
        "FILEFLUX_ROOT_ACCESS_KEY": "FFROOT" + secrets.token_hex(7).upper(),
        "FILEFLUX_ROOT_SECRET_KEY": secrets.token_urlsafe(30),
    }


def make(path: Path) -> bool:
    """Write the file unless there is one; return whether it was made."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in fresh_secrets().items())
    return True


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ENV_FILE
    if make(target):
        print(f"made {target} with random secrets; keep it, and keep it private")
