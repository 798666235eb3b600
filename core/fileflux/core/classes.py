"""Storage classes by name, as operators write them: `STANDARD:3:2,SINGLE:1:1`.

Each entry is name:R:W, R replicas of which W are durable before an upload is answered. Placement
and ingest read the same text; a bucket names its class.
"""

import re
from collections.abc import Mapping
from typing import Final, Self

from pydantic import Field, model_validator

from fileflux.core.model import StorageClass
from fileflux.core.settings import CommonSettings

REPLICAS_MAX: Final = 16
"""Each replica is one more assignment and one more pull of every bundle."""
DEFAULT_CLASSES: Final = "STANDARD:3:2,SINGLE:1:1"
DEFAULT_CLASS: Final = "STANDARD"

_ENTRY: Final = re.compile(r"([A-Z][A-Z0-9_]{0,31}):([0-9]{1,2}):([0-9]{1,2})")


class ClassSettings(CommonSettings):
    """For services that know storage classes."""

    classes_text: str = Field(DEFAULT_CLASSES, alias="FILEFLUX_CLASSES")
    """NAME:R:W, comma separated."""
    default_class: str = Field(DEFAULT_CLASS, alias="FILEFLUX_DEFAULT_CLASS")
    """The class of a bucket that was made without naming one."""

    @model_validator(mode="after")
    def _check_classes(self) -> Self:
        if self.default_class not in parse_classes(self.classes_text):
            raise ValueError(
                f"FILEFLUX_DEFAULT_CLASS names {self.default_class!r}, "
                "which FILEFLUX_CLASSES does not define"
            )
        return self

    @property
    def storage_classes(self) -> Mapping[str, StorageClass]:
        """Return the classes by name, in the order they were written."""
        return parse_classes(self.classes_text)


def parse_classes(text: str) -> dict[str, StorageClass]:
    """Return the classes by name; raise ValueError with one sentence for what is wrong."""
    classes: dict[str, StorageClass] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        made = _parse_entry(entry)
        if made.name in classes:
            raise ValueError(f"FILEFLUX_CLASSES defines {made.name} twice")
        classes[made.name] = made
    if not classes:
        raise ValueError("FILEFLUX_CLASSES defines no class")
    return classes


def _parse_entry(entry: str) -> StorageClass:
    match = _ENTRY.fullmatch(entry)
    if match is None:
        raise ValueError(f"FILEFLUX_CLASSES: {entry!r} is not NAME:R:W (as in {DEFAULT_CLASSES})")
    name, replicas, quorum = match[1], int(match[2]), int(match[3])
    if not 1 <= quorum <= replicas <= REPLICAS_MAX:
        raise ValueError(f"FILEFLUX_CLASSES: {entry!r} needs 1 <= W <= R <= {REPLICAS_MAX}")
    return StorageClass(name=name, replicas=replicas, quorum=quorum)


def classes_for(node_count: int) -> str:
    """Return the text for a system of that many nodes: R as far as they reach, W its majority."""
    replicas = max(1, min(3, node_count))
    return f"{DEFAULT_CLASS}:{replicas}:{replicas // 2 + 1},SINGLE:1:1"
