"""Ports are chosen once, kept, and nobody else's from the choice until the end."""

import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fileflux.console.backends import BACKEND_PORTS
from fileflux.console.cluster import OWN_PORTS
from fileflux.console.port_choice import END_PORT, PortTaken, ReservedPorts

HOST = "127.0.0.1"


@pytest.fixture
def ports() -> Iterator[ReservedPorts]:
    made = ReservedPorts()
    yield made
    made.release()


def test_ports_stay_the_same_for_the_next_start(tmp_path: Path) -> None:
    first, second = ReservedPorts(), ReservedPorts()
    before = first.choose(tmp_path / "p", ["a", "b"], fixed={}, host=HOST)
    first.release()

    assert second.choose(tmp_path / "p", ["a", "b"], fixed={}, host=HOST) == before
    assert before["a"] != before["b"]
    second.release()


@pytest.mark.parametrize("damaged", ["[]", '"text"', "{", '{"a": "x", "b": 70000}', "\xff"])
def test_a_damaged_file_is_as_none(tmp_path: Path, ports: ReservedPorts, damaged: str) -> None:
    (tmp_path / "p").write_text(damaged, encoding="latin-1")

    chosen = ports.choose(tmp_path / "p", ["a", "b"], fixed={}, host=HOST)

    assert set(chosen) == {"a", "b"}


def test_a_taken_port_is_refused_with_advice(tmp_path: Path, ports: ReservedPorts) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match="--port"):
            ports.choose(tmp_path / "p", ["s3"], fixed={"s3": port}, host=HOST)


def test_two_systems_that_start_at_once_choose_different_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens yet when the second one looks, and luck gives both the same numbers."""
    chosen: list[int] = []
    systems = [ReservedPorts(), ReservedPorts()]
    for number, one in enumerate(systems):
        monkeypatch.setattr("random.randrange", random.Random(7).randrange)
        names = [*OWN_PORTS, *BACKEND_PORTS]
        chosen += one.choose(tmp_path / str(number), names, fixed={}, host=HOST).values()
    for one in systems:
        one.release()

    assert len(set(chosen)) == 2 * len([*OWN_PORTS, *BACKEND_PORTS])


def test_services_of_one_system_choose_different_ports(
    tmp_path: Path, ports: ReservedPorts
) -> None:
    """Also when they are asked for one after the other."""
    one = ports.choose(tmp_path / "p", ["kafka"], fixed={}, host=HOST)
    (tmp_path / "p").write_text(f'{{"ingest": {one["kafka"]}}}')

    assert ports.choose(tmp_path / "p", ["ingest"], fixed={}, host=HOST)["ingest"] != one["kafka"]


def test_a_port_is_none_that_an_outgoing_connection_may_be_given(
    tmp_path: Path, ports: ReservedPorts
) -> None:
    """A service that is started again would find it taken."""
    chosen = ports.choose(tmp_path / "p", ["a", "b", "c"], fixed={}, host=HOST)

    assert max(chosen.values()) < END_PORT


def test_a_port_that_a_person_chose_is_kept_although_somebody_speaks_udp_there(
    tmp_path: Path, ports: ReservedPorts
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as somebody:
        # Free for TCP first: a port that UDP draws may be that of another test's connection.
        with socket.create_server((HOST, 0)) as free:
            port = free.getsockname()[1]
        somebody.bind((HOST, port))

        assert ports.choose(tmp_path / "p", ["s3"], fixed={"s3": port}, host=HOST) == {"s3": port}
