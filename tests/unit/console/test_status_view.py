"""The status view shows what services measure: its names are theirs."""

import socket
import threading

from prometheus_client import CollectorRegistry, generate_latest

from fileflux.console.status_view import (
    EVENTS_METRIC,
    LAG_METRICS,
    lag_in,
    port_in,
    scrape,
    sum_metrics,
)
from fileflux.core.telemetry import (
    AUDIT_PENDING,
    CONSUMER_LAG,
    EVENTS,
    ROUTE_LAG,
    WEBHOOK_WAITING,
)


def test_the_columns_have_the_names_that_services_give_their_figures() -> None:
    """Another name would leave a column empty for ever, and nobody would be told."""
    registry = CollectorRegistry()
    for metric in (EVENTS, CONSUMER_LAG, AUDIT_PENDING, WEBHOOK_WAITING, ROUTE_LAG):
        registry.register(metric)
    EVENTS.labels("a topic", "read").inc()
    CONSUMER_LAG.labels("a topic", 0).set(3)
    ROUTE_LAG.labels("a route").set(0)

    figures = sum_metrics(generate_latest(registry).decode())

    assert {EVENTS_METRIC, *LAG_METRICS} <= figures.keys()


def test_metrics_are_summed_over_their_labels() -> None:
    text = '# HELP x\nx_total{a="1"} 2\nx_total{a="2"} 3.5\ny 1\n'

    assert sum_metrics(text) == {"x_total": 5.5, "y": 1.0}


def test_a_process_that_waits_for_nothing_has_no_lag() -> None:
    assert lag_in({"something": 1.0}) is None
    assert lag_in({LAG_METRICS[0]: 2.0}) == 2.0
    assert lag_in({LAG_METRICS[1]: 0.0}) == 0.0


def test_the_port_shown_is_the_one_that_others_use() -> None:
    assert port_in({"node": 1, "exporter": 2, "ops": 3}) == 1
    assert port_in({"ops": 3, "s3": 4}) == 4
    assert port_in({"ops": 3}) == 3
    assert port_in({}) is None


def test_a_stranger_on_a_port_of_ours_leaves_the_columns_empty() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_talk_nonsense, args=(server,))
        thread.start()
        assert scrape(server.getsockname()[1]) == {}
        thread.join()


def _talk_nonsense(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"nonsense\r\n\r\n")
