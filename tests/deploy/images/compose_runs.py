"""Start the services of docker-compose.yml as processes, with what the file gives them.

Every service gets an address of its own in 127.0.0.0/8 in place of its name, so that ports stay as
the file has them. Volumes and secrets are folders. What runs is the image's command.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.deploy.images.compose_file import ROOT, image_command, words_of

PYTHON: Final = sys.executable
CLIENT_PYTHON: Final = ROOT / ".venv-clients/bin/python"
READY_S: Final = 120
STOP_S: Final = 60


class ComposeRun:
    """`services`: as Compose resolved them. `stands_in`: words of the file → what is there."""

    def __init__(self, services: dict[str, Any], folder: Path, stands_in: dict[str, str]) -> None:
        self._services = services
        self._folder = folder
        self._stands_in = stands_in
        self._addresses = {name: f"127.0.7.{number}" for number, name in enumerate(services, 1)}
        self._processes: dict[str, subprocess.Popen[str]] = {}

    def address(self, name: str) -> str:
        return self._addresses[name]

    def start(self, name: str) -> None:
        with self._log(name).open("w") as out:
            self._processes[name] = subprocess.Popen(
                self._command(name), env=self._environment(name), stdout=out, stderr=out, text=True
            )

    def wait_done(self, name: str) -> str:
        """Wait for a job; return what it said. Raises AssertionError when it failed."""
        code = self._processes.pop(name).wait(READY_S)
        assert code == 0, f"{name} ended with {code}:\n{self.said(name)}"
        return self.said(name)

    def wait_healthy(self, name: str) -> None:
        """The file's own check, asked as Compose asks it."""
        url = re.search(r"http://[^']+", " ".join(self._services[name]["healthcheck"]["test"]))
        assert url is not None
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self._processes[name].poll() is None, self.said(name)
            with suppress(OSError):
                urllib.request.urlopen(self._here(name, url[0]), timeout=3).close()
                return
            time.sleep(0.1)
        raise TimeoutError(f"{name} is not ready:\n{self.said(name)}")

    def stop(self, name: str) -> int:
        """End it as Compose does; return its exit code."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_S)

    def kill_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()

    def said(self, name: str) -> str:
        return self._log(name).read_text()[-3000:]

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _command(self, name: str) -> list[str]:
        entry, command = image_command(self._services[name]["build"]["target"])
        words = [*entry, *(words_of(self._services[name].get("command")) or command)]
        programs = {"python": PYTHON, "fileflux": str(Path(PYTHON).with_name("fileflux"))}
        return [programs[words[0]], *(self._here(name, word) for word in words[1:])]

    def _environment(self, name: str) -> dict[str, str]:
        """The image's environment and the service's, and nothing of ours but where Python is."""
        given = {key: self._here(name, value) for key, value in self._given(name).items()}
        inherited = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        home = self._folder / "home" / name
        home.mkdir(parents=True, exist_ok=True)
        return {**inherited, "HOME": str(home), **given}

    def _given(self, name: str) -> dict[str, str]:
        environment = self._services[name]["environment"]
        return {key: value for key, value in environment.items() if value}

    def _here(self, name: str, text: str) -> str:
        """Addresses, folders and programs of a container, as they are on this machine."""
        for word, replacement in self._stands_in.items():
            text = text.replace(word, replacement)
        text = text.replace("0.0.0.0", self.address(name))  # noqa: S104  # What is replaced.
        text = text.replace("127.0.0.1:9100", "OPS:9100")
        text = re.sub(r"(?<=//)([\w-]+)(?=:\d)", self._address_of, text)
        text = text.replace("OPS:9100", f"{self.address(name)}:9100")
        return re.sub(r"^/(?=run/secrets/|var/lib/|tmp/)", f"{self._mounts(name)}/", text)

    def _address_of(self, match: re.Match[str]) -> str:
        return self._addresses.get(match[1], match[1])

    def _mounts(self, name: str) -> Path:
        """A folder of its own for each service; the secrets are the same for all."""
        folder = self._folder / "root" / name
        (folder / "run").mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (folder / "run" / "secrets").symlink_to(self._folder / "secrets")
        for path in ("var/lib/fileflux", "var/lib/fileflux-archive", "tmp"):
            (folder / path).mkdir(parents=True, exist_ok=True)
        return folder
