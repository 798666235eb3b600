"""Panels of the kinds that every dashboard has."""

from tools.monitoring.panel import Panel, Query, Unit


def rate(title: str, description: str, unit: Unit, metric: str, *by: str) -> Panel:
    """A counter, a second, by labels."""
    labels = ", ".join(by)
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    return Panel(
        title, description, unit, (Query(f"sum by ({labels}) (rate({metric}[5m]))", legend),)
    )


def quantiles(title: str, description: str, metric: str, selector: str = "", by: str = "") -> Panel:
    """The median and the 99th percentile of a histogram."""
    lists = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    queries = (
        Query(
            f"histogram_quantile({share}, sum by ({lists}) (rate({metric}_bucket{selector}[5m])))",
            f"{legend}p{share * 100:g}",
        )
        for share in (0.5, 0.99)
    )
    return Panel(title, description, "s", tuple(queries))


def plain(title: str, description: str, unit: Unit, expression: str, legend: str = "") -> Panel:
    """One expression as it is."""
    return Panel(title, description, unit, (Query(expression, legend),))
