"""Write OpenTofu's configuration that takes the schema-only providers, and print its path.

    export TF_CLI_CONFIG_FILE=$(python tools/provider_overrides.py)
    tofu -chdir=terraform/modules/network validate

Nothing is downloaded then, and nothing can be planned or applied but by mocks in `tofu test`.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.deploy_tools import path_of
from tools.go_modules import CACHE_DIR
from tools.provider_schemas import PROVIDERS, schema_path

SOURCES: Final = {"aws": "hashicorp/aws", "cloudflare": "cloudflare/cloudflare"}


def main() -> None:
    print(config_path())


def config_path() -> Path:
    """Return the configuration for TF_CLI_CONFIG_FILE; what it needs is made first."""
    folders = {name: _provider_dir(name) for name in PROVIDERS}
    lines = [f'    "{SOURCES[name]}" = "{folder}"' for name, folder in folders.items()]
    text = "\n".join(["provider_installation {", "  dev_overrides {", *lines, "  }", "}", ""])
    # By its content: a checkout of another version shares the cache, and must not change ours.
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    path = CACHE_DIR / "provider-schemas" / f"tofu-{digest}.tfrc"
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
    return path


def _provider_dir(name: str) -> Path:
    """A folder with the executable by the provider's name, and the schema beside it."""
    schema, program = schema_path(name), path_of("schema-provider")
    folder = schema.with_name(f"{schema.stem}-{program.parent.name}")
    if not folder.exists():
        draft = folder.with_suffix(f".{os.getpid()}")
        draft.mkdir()
        shutil.copy(program, draft / f"terraform-provider-{name}")
        shutil.copy(schema, draft / "schema.json")
        draft.replace(folder)
    return folder


if __name__ == "__main__":
    main()
