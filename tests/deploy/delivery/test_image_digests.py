"""Digests of a build come into an environment's values, and nothing else changes there."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml
from tools.update_image_digest import Refused, places_of, update

ROOT: Final = Path(__file__).parents[3]
SCRIPT: Final = ROOT / "tools/update_image_digest.py"
ONE: Final = "sha256:" + "1" * 64
TWO: Final = "sha256:" + "2" * 64
COMPONENTS: Final = """\
ingest: {values: ingest, image: ingest}
materializer: {values: materializer, image: metadata}
sequencer: {values: sequencer, image: metadata}
storage-node: {values: storageNode, image: storage-node}
secretKeys: {database: [DATABASE_URL]}
reads: {ingest: [DATABASE_URL]}
"""
VALUES: Final = """\
# Digests of one build.
ingest:
  image:
    digest: "" # of ingest

  # Kept as it is.
  tracks: {candidate: {enabled: false}}
materializer:
  image:
    digest: 'sha256:00'
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    components = tmp_path / "helm/fileflux/files/components.yaml"
    values = tmp_path / "argocd/environments/dev/images.yaml"
    for path, text in ((components, COMPONENTS), (values, VALUES)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return tmp_path


def values_of(tree: Path) -> Path:
    return tree / "argocd/environments/dev/images.yaml"


def write(tree: Path, digests: dict[str, str], *, candidate: bool = False) -> list[str]:
    return update(values_of(tree), digests, places_of(tree), candidate=candidate)


def test_a_target_is_written_for_each_component_that_runs_it(tree: Path) -> None:
    changed = write(tree, {"metadata": ONE})
    assert changed == [f"materializer.image.digest: {ONE}", f"sequencer.image.digest: {ONE}"]
    found = yaml.safe_load(values_of(tree).read_text())
    assert found["materializer"]["image"]["digest"] == ONE
    assert found["sequencer"]["image"]["digest"] == ONE
    assert found["ingest"]["image"]["digest"] == ""


def test_comments_order_and_everything_else_stay(tree: Path) -> None:
    write(tree, {"ingest": ONE})
    expected = VALUES.replace('digest: "" #', f'digest: "{ONE}" #')
    assert values_of(tree).read_text().splitlines() == expected.splitlines()


def test_a_second_run_changes_nothing(tree: Path) -> None:
    write(tree, {"ingest": ONE, "metadata": TWO})
    before = values_of(tree).read_bytes(), values_of(tree).stat().st_mtime_ns
    assert write(tree, {"ingest": ONE, "metadata": TWO}) == []
    assert (values_of(tree).read_bytes(), values_of(tree).stat().st_mtime_ns) == before


def test_a_candidates_digest_leaves_stable_alone(tree: Path) -> None:
    assert write(tree, {"ingest": TWO}, candidate=True) == [
        f"ingest.tracks.candidate.image.digest: {TWO}"
    ]
    found = yaml.safe_load(values_of(tree).read_text())["ingest"]
    assert found["image"]["digest"] == ""
    assert found["tracks"]["candidate"] == {"enabled": False, "image": {"digest": TWO}}


@pytest.mark.parametrize(
    ("digests", "said"),
    [
        ({"ingress": ONE}, "no image target ingress"),
        ({"ingest": "latest"}, "not a digest"),
        ({"ingest": ONE[:-1]}, "not a digest"),
        ({"ingest": ONE, "metadata": "sha256:xyz"}, "not a digest"),
        ({}, "no digest"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_written(
    tree: Path, digests: dict[str, str], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        write(tree, digests)
    assert values_of(tree).read_text() == VALUES


def test_a_candidate_is_ingest_alone(tree: Path) -> None:
    with pytest.raises(Refused, match="alone"):
        write(tree, {"metadata": ONE}, candidate=True)


def test_a_file_that_holds_no_values_is_refused(tree: Path) -> None:
    values_of(tree).write_text("- a list\n")
    with pytest.raises(Refused, match="no values"):
        write(tree, {"ingest": ONE})


def test_the_command_reads_a_builds_file_and_says_what_it_did(tree: Path, tmp_path: Path) -> None:
    digests = tmp_path / "digests.json"
    digests.write_text(json.dumps({"storage-node": ONE}))
    command = [sys.executable, str(SCRIPT), "dev", f"--root={tree}", f"--file={digests}"]
    first = subprocess.run(command, capture_output=True, text=True, check=True)
    second = subprocess.run(command, capture_output=True, text=True, check=True)
    assert first.stdout == f"storageNode.image.digest: {ONE}\n"
    assert second.stdout == "nothing to change\n"


def test_a_refusal_ends_with_2_and_a_sentence(tree: Path) -> None:
    command = [sys.executable, str(SCRIPT), "dev", f"--root={tree}", "ingest=latest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a digest" in done.stderr


def test_both_environments_of_the_repository_take_a_build(tmp_path: Path) -> None:
    for environment in ("dev", "prod"):
        path = tmp_path / f"{environment}.yaml"
        shutil.copy(ROOT / f"argocd/environments/{environment}/images.yaml", path)
        before = path.read_text()
        update(path, {"ingest": ONE}, {"ingest": [("ingest", "image", "digest")]})
        update(path, {"ingest": TWO}, {"ingest": [("ingest", "image", "digest")]})
        assert path.read_text().replace(TWO, "") == before
