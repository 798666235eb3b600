"""What this machine can do at all, in the same run: figures are only worth their ratio to it."""

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MIB = 1 << 20


def measure(directory: Path, *, seconds: float = 2.0) -> dict[str, float]:
    """Loopback MB/s, sequential write + fsync MB/s, 4 KiB file + fsync per second at 1 and 16.

    And how often a second this Python, on this CPU, now, runs a small loop of dictionary work.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return {
        "loopback_mb_s": loopback_mb_s(seconds),
        "write_fsync_mb_s": sequential_write_mb_s(directory, 512 * MIB),
        "small_fsync_per_s_1": small_files_per_s(directory, threads=1, seconds=seconds),
        "small_fsync_per_s_16": small_files_per_s(directory, threads=16, seconds=seconds),
        "python_loops_per_s": python_loops_per_s(seconds),
    }


def python_loops_per_s(seconds: float) -> float:
    """A loop: 100,000 turns that make a text and a tuple, and keep a thousand of them."""
    count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        kept = {}
        for number in range(100_000):
            kept[number % 1000] = (number, str(number))
        count += 1
    return count / (time.perf_counter() - began)


def loopback_mb_s(seconds: float) -> float:
    server = socket.create_server(("127.0.0.1", 0))
    received = [0]

    def drain() -> None:
        connection, _ = server.accept()
        buffer = bytearray(MIB)
        while count := connection.recv_into(buffer):
            received[0] += count

    reader = threading.Thread(target=drain)
    reader.start()
    piece = bytes(MIB)
    began = time.perf_counter()
    with socket.create_connection(server.getsockname()) as client:
        while time.perf_counter() - began < seconds:
            client.sendall(piece)
    reader.join()
    server.close()
    return received[0] / 1e6 / (time.perf_counter() - began)


def sequential_write_mb_s(directory: Path, size: int) -> float:
    piece = os.urandom(8 * MIB)
    path = directory / "ceiling.bin"
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size, len(piece)):
            file.write(piece)
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return size / 1e6 / took


def small_files_per_s(directory: Path, *, threads: int, seconds: float) -> float:
    deadline = time.perf_counter() + seconds

    def write_until(number: int) -> int:
        count = 0
        while time.perf_counter() < deadline:
            path = directory / f"small-{number}-{count}"
            with path.open("wb", buffering=0) as file:
                file.write(bytes(4096))
                os.fsync(file.fileno())
            path.unlink()
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(write_until, range(threads))) / seconds
