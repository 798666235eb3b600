"""Which ports the local system uses: chosen once, kept beside the data, ours while we run.

Between the choice of a port and the first listening on it lie seconds, and a service that is
started again frees it for a moment. So each port is reserved by binding its number on UDP, which
nobody here speaks: of two systems that start at once only one gets it, and the reservation ends
with its process, however that ends. Ports are taken from below those that the system hands out to
outgoing connections.
"""

import json
import random
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from fileflux.console.loopback_ports import LOOPBACK

FIRST_PORT: Final = 10_000
END_PORT: Final = 32_768
"""Where Linux begins with the ports of outgoing connections."""
TRIES_MAX: Final = 10_000


class PortTaken(Exception):
    """Somebody else listens there. The message says what to do."""


class ReservedPorts:
    """The ports of one running system."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}

    def choose(
        self, stored_path: Path, names: Iterable[str], *, fixed: Mapping[str, int], host: str
    ) -> dict[str, int]:
        """A port per name: the given one, else last time's if it is still free, else a free one."""
        stored = _read(stored_path)
        chosen = {name: port for name, port in fixed.items() if port}
        for port in chosen.values():
            self._take_given(host, port)
        for name in names:
            if name not in chosen:
                chosen[name] = self._one_for(stored.get(name, 0), host)
        stored_path.write_text(json.dumps({**stored, **chosen}))
        return chosen

    def release(self) -> None:
        held, self._held = self._held, {}
        for one in held.values():
            one.close()

    def _take_given(self, host: str, port: int) -> None:
        """Somebody else may speak UDP there: a port that a person chose is not given up for it."""
        if not is_free(host, port):
            raise PortTaken(
                f"port {port} is taken by another program. Stop it, or choose another one with "
                "--port (0 picks a free one)."
            )
        self._reserve(port)

    def _one_for(self, before: int, host: str) -> int:
        for port in (before, *(random.randrange(FIRST_PORT, END_PORT) for _ in range(TRIES_MAX))):
            if port and port not in self._held and is_free(host, port) and self._reserve(port):
                return port
        raise PortTaken("no free port was found; see which programs listen here (ss -ltn)")

    def _reserve(self, port: int) -> bool:
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind((LOOPBACK, port))
        except OSError:
            held.close()
            return False
        self._held[port] = held
        return True


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now, and on loopback."""
    return all(_can_listen(one, port) for one in {host, LOOPBACK})


def _can_listen(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _read(path: Path) -> dict[str, int]:
    """Return the ports of last time; a file that is damaged is as none."""
    try:
        entries = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {name: port for name, port in entries.items() if _is_port(port)}


def _is_port(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 16
