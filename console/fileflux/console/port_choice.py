"""Which ports the local system uses: chosen once, kept beside the data, checked before a start."""

import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path


class PortTaken(Exception):
    """Somebody else listens there. The message says what to do."""


def choose_ports(
    stored_path: Path, names: Iterable[str], *, fixed: Mapping[str, int], host: str
) -> dict[str, int]:
    """A port per name: the given one, else last time's if it is still free, else a free one."""
    stored = _read(stored_path)
    chosen = {name: port for name, port in fixed.items() if port}
    for port in chosen.values():
        if not is_free(host, port):
            raise PortTaken(
                f"port {port} is taken by another program. Stop it, or choose another one with "
                "--port (0 picks a free one)."
            )
    for name in names:
        if name not in chosen:
            chosen[name] = _one_for(name, stored, set(chosen.values()), host)
    stored_path.write_text(json.dumps({**stored, **chosen}))
    return chosen


def is_free(host: str, port: int) -> bool:
    """Whether we could listen there now."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _one_for(name: str, stored: Mapping[str, int], taken: set[int], host: str) -> int:
    before = stored.get(name, 0)
    if before and before not in taken and is_free(host, before):
        return before
    while True:
        port = _any_free(host)
        if port not in taken:
            return port


def _any_free(host: str) -> int:
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _read(path: Path) -> dict[str, int]:
    try:
        entries = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return {str(name): int(port) for name, port in entries.items()}
