"""The index template of log records, and how long Elasticsearch keeps them."""

from typing import Any, Final

from tools.logs.fields import all_fields

PATTERNS: Final = ["logs-fileflux-*", "logs-fileflux.dead-*"]
POLICY: Final = "fileflux-logs"
HOT_DAYS: Final = 2
WARM_DAYS: Final = 7
KEPT_DAYS: Final = 30
"""CloudWatch keeps them longer; this is for searching."""


def lifecycle() -> dict[str, Any]:
    """Return the policy: a new index every two days or at 30 GB, then read-only, then deleted."""
    rollover = {"max_primary_shard_size": "30gb", "max_age": f"{HOT_DAYS}d"}
    warm = {
        "readonly": {},
        "forcemerge": {"max_num_segments": 1},
        "set_priority": {"priority": 50},
    }
    return {
        "policy": {
            "phases": {
                "hot": {"actions": {"rollover": rollover, "set_priority": {"priority": 100}}},
                "warm": {"min_age": f"{WARM_DAYS}d", "actions": warm},
                "delete": {"min_age": f"{KEPT_DAYS}d", "actions": {"delete": {}}},
            }
        }
    }


def template() -> dict[str, Any]:
    """Return the index template. What it does not name is kept in `_source` and not searched."""
    return {
        "index_patterns": PATTERNS,
        "data_stream": {},
        "priority": 500,  # Elastic's own for logs-*-* has 100.
        "template": {
            "settings": {
                "index.lifecycle.name": POLICY,
                "index.codec": "best_compression",
                "index.number_of_shards": 1,
                "index.mapping.total_fields.limit": 300,
                "index.query.default_field": ["message"],
            },
            "mappings": {"dynamic": False, "properties": _tree()},
        },
        "_meta": {"description": "Log records of FileFlux, made by tools/logs"},
    }


def _tree() -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, mapping in all_fields().items():
        *parents, leaf = path.split(".") if not path.startswith("@") else [path]
        inside = root
        for parent in parents:
            inside = inside.setdefault(parent, {"properties": {}})["properties"]
        inside[leaf] = mapping
    return root
