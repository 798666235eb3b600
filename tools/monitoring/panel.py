"""Grafana's JSON, as much of it as our dashboards need (schema 39, Grafana 10 and newer)."""

from dataclasses import dataclass
from typing import Any, Final, Literal

Unit = Literal["short", "reqps", "ops", "s", "bytes", "Bps", "percent", "percentunit", "none"]
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH: Final = 24
HEIGHT: Final = 8


@dataclass(frozen=True)
class Query:
    """`legend` may name labels: {{instance}}."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """`description`: what a person reads off it."""

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8

    def as_json(self, number: int, x: int, y: int) -> dict[str, Any]:
        targets = [
            {
                "refId": chr(ord("A") + index),
                "expr": query.expression,
                "legendFormat": query.legend or "__auto",
                "datasource": DATASOURCE,
                "instant": self.kind != "timeseries",
            }
            for index, query in enumerate(self.queries)
        ]
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"h": HEIGHT, "w": self.width, "x": x, "y": y},
            "fieldConfig": {"defaults": {"unit": self.unit, "min": 0}, "overrides": []},
            "targets": targets,
        }


@dataclass(frozen=True)
class Row:
    """Panels under one title."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """`name`: of the file, and its uid."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]

    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]

    def as_json(self) -> dict[str, Any]:
        return {
            "uid": self.name,
            "title": self.title,
            "description": self.description,
            "tags": ["fileflux"],
            "schemaVersion": 39,
            "editable": False,
            "refresh": "30s",
            "time": {"from": "now-6h", "to": "now"},
            "templating": {"list": [_datasource_variable()]},
            "links": [_link_to_the_others()],
            "panels": self._placed(),
        }

    def _placed(self) -> list[dict[str, Any]]:
        """Rows from top to bottom, panels from left to right, as many as fit."""
        placed: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            placed.append(_row(row.title, len(placed) + 1, y))
            x, y = 0, y + 1
            for panel in row.panels:
                if x + panel.width > WIDTH:
                    x, y = 0, y + HEIGHT
                placed.append(panel.as_json(len(placed) + 1, x, y))
                x += panel.width
            y += HEIGHT
        return placed


def _row(title: str, number: int, y: int) -> dict[str, Any]:
    position = {"h": 1, "w": WIDTH, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": position}


def _datasource_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
    }


def _link_to_the_others() -> dict[str, Any]:
    return {
        "title": "FileFlux",
        "type": "dashboards",
        "tags": ["fileflux"],
        "asDropdown": True,
        "keepTime": True,
    }
