"""Write the chart's rules and dashboards: `python -m tools.monitoring.make` (`make monitoring`).

Nothing is written when an expression names a metric or a label that does not exist.
"""

import json
import sys
from pathlib import Path
from typing import Final

import yaml
from tools.monitoring import alerts, slo
from tools.monitoring.boards import DASHBOARDS
from tools.monitoring.catalogue import problems_of
from tools.monitoring.rule import Alert, Group, Recording

FILES: Final = Path(__file__).parents[2] / "helm/fileflux/files"
GROUPS: Final[tuple[Group, ...]] = (*slo.groups(), *alerts.GROUPS)
HEADER: Final = "# Made by `make monitoring` from tools/monitoring; do not edit it.\n"


def main() -> None:
    if wrong := problems():
        sys.exit("monitoring: nothing was written:\n  " + "\n  ".join(wrong))
    for path, text in rendered().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def problems() -> list[str]:
    """Return what rules and panels name that does not exist, with where."""
    recorded = frozenset(one.name for one in rules() if isinstance(one, Recording))
    places = [(str(one.name), one.expression) for one in rules()]
    places += [
        (f"{board.name}: {panel.title}", query.expression)
        for board in DASHBOARDS
        for panel in board.panels()
        for query in panel.queries
    ]
    return [f"{place}: {one}" for place, text in places for one in problems_of(text, recorded)]


def rules() -> list[Recording | Alert]:
    return [rule for group in GROUPS for rule in group.rules]


def rendered() -> dict[Path, str]:
    """Return every file with its text."""
    made = {}
    for group in GROUPS:
        text = yaml.safe_dump(group.as_yaml(), sort_keys=False, width=100, allow_unicode=True)
        made[FILES / "rules" / f"{group.name}.yaml"] = HEADER + text
    for board in DASHBOARDS:
        made[FILES / "dashboards" / f"{board.name}.json"] = (
            json.dumps(board.as_json(), indent=1) + "\n"
        )
    return made


if __name__ == "__main__":
    main()
