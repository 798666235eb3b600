"""Pages whose links, commands and lists agree with what is there."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from fileflux.console.cli import app

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = sorted(path.parts[-4] for path in ROOT.glob("*/fileflux/*/__init__.py"))
LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE: Final = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND: Final = re.compile(
    r"(?:^|\.venv/bin/|[\s(])fileflux ((?:[a-z]+(?:-[a-z]+)? ?)+)((?:[^\n`#|]*))", re.M
)
OTHERS_COMMAND: Final = re.compile(r"^[^\n]*\b(?:kubectl|helm)\b(?!.* -- )(?:.*\\\n)*.*$", re.M)
OPTION: Final = re.compile(r"(?<!\S)(--[a-z-]+)")
HOLDERS: Final = {
    *("admin", "archive", "audit", "user", "key", "bucket", "node", "webhook", "destination"),
    "route",
    *("hold", "snapshot"),
}
NAMED: Final = re.compile(
    r"\b((?:FILEFLUX|KAFKA)_[A-Z0-9_]*[A-Z0-9]|(?:fileflux|zfs_pool)_[a-z_]*[a-z])\b(?![*(/])"
)
"""Variables of the environment, and metrics."""
README_PARTS: Final = ("settings", "how it fails", "alone")
PROMISED: Final = frozenset(
    {
        "docs/explanation/performance.md",
        "storage_node/README.md",
    }
)
"""Pages that others are writing; empty when a release is made."""


def pages() -> list[Path]:
    """Every page that is tracked, or would be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).exists()]


PAGES: Final = pages()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = [target for target in _links(page) if not _exists(page, target)]
    assert dead == []


def test_every_package_has_a_readme_with_what_an_operator_asks() -> None:
    """Purpose, topics, settings, how it fails, how to run it alone."""
    missing = []
    for package in PACKAGES:
        path = ROOT / package / "README.md"
        if not path.exists() and str(path.relative_to(ROOT)) in PROMISED:
            continue
        text = path.read_text().lower() if path.exists() else ""
        headings = " ".join(re.findall(r"^##+ (.+)$", text, re.MULTILINE))
        missing += [f"{package}: {part}" for part in README_PARTS if part not in headings]
        if "topic" not in text and "fileflux.audit" not in text:
            missing.append(f"{package}: topics read and written")
    assert missing == []


def test_every_command_that_a_page_names_exists() -> None:
    """A page that teaches a command which is not there teaches distrust."""
    runner, wrong, seen = CliRunner(), [], set()
    for page, words, options in _commands():
        result = runner.invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
        seen.add(words)
        where = f"{page.relative_to(ROOT)}: fileflux {' '.join(words)}"
        if result.exit_code != 0:
            wrong.append(where)
        wrong += [f"{where} {one}" for one in options if one not in result.output]
    assert wrong == []
    assert len(seen) > 10, seen


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(page.relative_to(ROOT)), target)
        for page in PAGES
        for code in _code(page)
        for target in re.findall(r"(?:^|\n)make ([a-z0-9-]+)", code)
    }
    assert named
    assert sorted(one for one in named if one[1] not in targets) == []


def test_every_metric_and_variable_that_a_page_names_exists() -> None:
    """A runbook that sends people to a metric which is not there costs them the night."""
    known = (ROOT / "docs/reference/metrics.md").read_text()
    known += (ROOT / "docs/reference/settings.md").read_text()
    known += "".join(f"`{name}`" for name in _names_of_deployments())
    named = {
        (str(page.relative_to(ROOT)), name)
        for page in PAGES
        for code in _code(page)
        for name in NAMED.findall(code)
    }
    assert len(named) > 50
    assert sorted(one for one in named if f"`{one[1]}`" not in known) == []


def _names_of_deployments() -> list[str]:
    """Variables that the compose file reads and playbooks know; metrics made for autoscalers."""
    compose = (ROOT / "docker-compose.yml").read_text()
    adapter = (ROOT / "helm/fileflux/prometheus-adapter.yaml").read_text()
    made = re.findall(r"\bas: (\w+)", adapter)
    inventory = [*ROOT.glob("ansible/inventory/**/*.yml"), *ROOT.glob("ansible/roles/*/defaults/*")]
    asked = [name for path in inventory for name in re.findall(r"^(\w+):", path.read_text(), re.M)]
    # pool.conf and pool-disks.env, which a script of the image reads.
    pool = re.findall(r"FILEFLUX_POOL\w*", (ROOT / "packer/files/fileflux-pool-init").read_text())
    return re.findall(r"\$\{(\w+)", compose) + made + asked + pool


def test_every_decision_is_in_the_index() -> None:
    """Numbers are given once. A gap is a decision of a branch that is not merged yet."""
    index = (ROOT / "docs/adr/README.md").read_text()
    records = sorted((ROOT / "docs/adr").glob("0*.md"))
    assert [path.name for path in records if f"({path.name})" not in index] == []
    numbers = [int(path.name[:4]) for path in records]
    assert numbers == sorted(set(numbers))


def test_every_page_is_reached_from_the_map() -> None:
    """docs/README.md leads to each page, or to the index of its folder."""
    text = (ROOT / "docs/README.md").read_text()
    lost = [
        name
        for page in PAGES
        if page.is_relative_to(ROOT / "docs")
        and (name := str(page.relative_to(ROOT / "docs"))) != "README.md"
        and name not in text
        and f"{page.parent.name}/README.md" not in text
    ]
    assert lost == []


def test_every_test_folder_is_described() -> None:
    text = (ROOT / "tests/README.md").read_text()
    folders = [
        path.name
        for path in (ROOT / "tests").iterdir()
        if path.is_dir() and any(path.glob("**/*.py")) and path.name != "__pycache__"
    ]
    assert [name for name in folders if f"`{name}/`" not in text] == []


def test_changelog_fragments_have_a_kind_and_speak_to_operators() -> None:
    fragments = [path for path in (ROOT / "changelog.d").iterdir() if path.name != "README.md"]
    kinds = {"added", "changed", "fixed", "security"}
    assert [
        p.name for p in fragments if p.suffix != ".md" or p.stem.split(".")[-1] not in kinds
    ] == []
    assert [p.name for p in fragments if not 20 < len(p.read_text()) < 2_000] == []


def _links(page: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [one for one in LINK.findall(text) if not re.match(r"[a-z]+:", one)]


def _exists(page: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return str(path.relative_to(ROOT)) in PROMISED
    return not anchor or anchor in {_slug(one) for one in _headings(path)}


def _headings(path: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)


def _slug(heading: str) -> str:
    """The anchor that a heading gets where pages are shown."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _code(page: Path) -> list[str]:
    return [block or span for block, span in CODE.findall(page.read_text())]


def _commands() -> Iterator[tuple[Path, tuple[str, ...], list[str]]]:
    for page in PAGES:
        for code in _code(page):
            # `helm upgrade fileflux …` and `kubectl --namespace fileflux …` name what we call so.
            for words, rest in COMMAND.findall(OTHERS_COMMAND.sub("", code)):
                yield page, _command_of(words.split()), OPTION.findall(rest)


def _command_of(words: list[str]) -> tuple[str, ...]:
    """`admin user create alice` is the command `admin user create`: what follows are arguments."""
    command: list[str] = []
    for word in words:
        command.append(word)
        if word not in HOLDERS:
            break
    return tuple(command)
