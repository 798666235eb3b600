"""Write the digests of a build's images into an environment's values, for a pull request.

    python tools/update_image_digest.py prod ingest=sha256:… metadata=sha256:…
    python tools/update_image_digest.py prod --file digests.json --candidate

Names are the Dockerfile's targets; one that several components run (metadata) is written for each
of them. Comments and order of argocd/environments/ENV/images.yaml stay. `--candidate` writes
ingest's digest to its candidate track alone, for a roll-out by weights. Run twice it changes
nothing.

Exit codes: 0 written, or nothing to write; 2 usage, an unknown target, or no digest.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

ROOT: Final = Path(__file__).resolve().parents[1]
COMPONENTS: Final = "helm/fileflux/files/components.yaml"
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
NOT_COMPONENTS: Final = ("secretKeys", "reads")
CANDIDATE: Final = ("ingest", "tracks", "candidate", "image", "digest")


class Refused(Exception):
    """What is asked cannot be written; the message says what would."""


def places_of(root: Path) -> dict[str, list[tuple[str, ...]]]:
    """Return where each image target's digest stands in the chart's values: a path for each
    component that runs it.
    """
    found = yaml.safe_load((root / COMPONENTS).read_text())
    places: dict[str, list[tuple[str, ...]]] = {}
    for name, facts in found.items():
        if name not in NOT_COMPONENTS:
            places.setdefault(facts["image"], []).append((facts["values"], "image", "digest"))
    return places


def update(
    path: Path,
    digests: Mapping[str, str],
    places: Mapping[str, Sequence[tuple[str, ...]]],
    *,
    candidate: bool = False,
) -> list[str]:
    """Write the digests; return what changed, `place: digest` each. Raises Refused, and then has
    written nothing.
    """
    wanted = _wanted(digests, places, candidate=candidate)
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 200
    document = writer.load(path.read_text())
    if not isinstance(document, CommentedMap):
        raise Refused(f"{path} holds no values")
    changed = [
        f"{'.'.join(place)}: {digest}"
        for place, digest in wanted.items()
        if _put(document, place, digest)
    ]
    if changed:
        _replace(path, writer, document)
    return changed


def _wanted(
    digests: Mapping[str, str],
    places: Mapping[str, Sequence[tuple[str, ...]]],
    *,
    candidate: bool,
) -> dict[tuple[str, ...], str]:
    for target, digest in digests.items():
        if target not in places:
            raise Refused(f"no image target {target}: there are {', '.join(sorted(places))}")
        if not DIGEST.fullmatch(digest):
            raise Refused(f"{target}: not a digest (sha256: and 64 hexadecimal digits): {digest}")
    if not digests:
        raise Refused("no digest was given")
    if candidate:
        if set(digests) != {"ingest"}:
            raise Refused("--candidate takes ingest=sha256:… alone: only ingest has two tracks")
        return {CANDIDATE: digests["ingest"]}
    return {place: digest for target, digest in digests.items() for place in places[target]}


def _put(document: CommentedMap, place: tuple[str, ...], digest: str) -> bool:
    *way, last = place
    inside: Any = document
    for part in way:
        inside = inside.setdefault(part, CommentedMap())
        if not isinstance(inside, CommentedMap):
            raise Refused(f"{'.'.join(place)}: {part} is no group of values")
    if inside.get(last) == digest:
        return False
    inside[last] = DoubleQuotedScalarString(digest)
    return True


def _replace(path: Path, writer: YAML, document: CommentedMap) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("w") as out:
            writer.dump(document, out)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _given(options: argparse.Namespace) -> dict[str, str]:
    given: dict[str, str] = {}
    if options.file:
        try:
            found = json.loads(options.file.read_text())
            given = {str(name): str(digest) for name, digest in found.items()}
        except (OSError, ValueError, AttributeError) as error:
            raise Refused(f'{options.file}: not {{"target": "sha256:…"}}: {error}') from error
    for pair in options.digests:
        name, _, digest = pair.partition("=")
        given[name] = digest
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("environment", choices=["dev", "prod"])
    parser.add_argument("digests", nargs="*", metavar="TARGET=DIGEST")
    parser.add_argument("--file", type=Path, help="the same as a JSON object")
    parser.add_argument("--candidate", action="store_true", help="ingest's second track only")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_intermixed_args(arguments)
    path = options.root / "argocd/environments" / options.environment / "images.yaml"
    try:
        places = places_of(options.root)
        changed = update(path, _given(options), places, candidate=options.candidate)
    except (Refused, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    print("\n".join(changed) if changed else "nothing to change")
    return 0


if __name__ == "__main__":
    sys.exit(main())
