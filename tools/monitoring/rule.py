"""What a rule is made of, and how it becomes Prometheus' YAML."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

RUNBOOKS: Final = "docs/runbooks"
Severity = Literal["page", "ticket"]
"""`page`: somebody gets up for it. `ticket`: in the morning."""


@dataclass(frozen=True)
class Recording:
    """A series that others are made of. `name`: level:metric:operations, as Prometheus advises."""

    name: str
    expression: str

    def as_yaml(self) -> dict[str, Any]:
        return {"record": self.name, "expr": self.expression}


@dataclass(frozen=True)
class Alert:
    """`lasts`: how long it must be true. `summary` may name labels: {{ $labels.pool }}."""

    name: str
    expression: str
    lasts: str
    severity: Severity
    summary: str
    description: str

    @property
    def runbook(self) -> str:
        """docs/runbooks/PAGE.md: the name in kebab case; how fast a budget burns shares a page."""
        name = re.sub("(Fast|Slow)$", "", self.name.removeprefix("FileFlux"))
        words = re.findall(r"[A-Z][a-z0-9]*", name)
        return f"{RUNBOOKS}/{'-'.join(words).lower()}.md"

    def as_yaml(self) -> dict[str, Any]:
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": self.runbook,
            },
        }


@dataclass(frozen=True)
class Group:
    """A file of rules, which are evaluated one after the other."""

    name: str
    rules: tuple[Recording | Alert, ...]

    def as_yaml(self) -> dict[str, Any]:
        return {"groups": [{"name": self.name, "rules": [one.as_yaml() for one in self.rules]}]}
