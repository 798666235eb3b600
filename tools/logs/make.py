"""Write what Elasticsearch and Kibana are given, from the lists in this folder.

python -m tools.logs.make          writes monitoring/logs/*.json and kibana.ndjson
"""

import json
from pathlib import Path
from typing import Final

from tools.logs.elasticsearch import lifecycle, template
from tools.logs.kibana import ndjson

FOLDER: Final = Path(__file__).parents[2] / "monitoring/logs"


def files() -> dict[str, str]:
    """Return name → text of every file that is made."""
    return {
        "lifecycle.json": json.dumps(lifecycle(), indent=2) + "\n",
        "index-template.json": json.dumps(template(), indent=2) + "\n",
        "kibana.ndjson": ndjson(),
    }


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
