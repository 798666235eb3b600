"""The demo against a FileFlux that runs already. It is the last service of the compose file."""

import tempfile
import time
from pathlib import Path

from rich.console import Console

from fileflux.console.demo_client_runs import DemoPlace, store_and_fetch
from fileflux.console.demo_result import DemoLimits, collect_and_say, say_result
from fileflux.console.settings import DemoSettings
from fileflux.core.settings import load_settings


def run_remote_demo(
    endpoint: str,
    *,
    source: Path | None,
    client_python: Path,
    limits: DemoLimits,
    as_json: bool = False,
) -> int:
    """Return the exit code: 0 when there was no difference, 1 otherwise. Raises SettingsInvalid."""
    began = time.monotonic()
    settings = load_settings(DemoSettings)
    out = Console(stderr=as_json, highlight=False)
    secret = settings.root_secret_key.get_secret_value()
    bucket = f"demo-{time.time_ns()}"
    place = DemoPlace(endpoint, settings.root_access_key, secret, bucket)
    with tempfile.TemporaryDirectory() as made:
        found = collect_and_say(out, Path(made), source, limits)
        try:
            differences = store_and_fetch(out, place, found, client_python)
        except RuntimeError as error:
            out.print(f"demo: {error}; its complaint is above. Is {endpoint} the right address?")
            return 1
    say_result(out, found, differences, began=began, as_json=as_json)
    return int(bool(differences))
