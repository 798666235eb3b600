"""Writes what each task did, and ends the whole run, like a kill, at the event asked for."""

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: fileflux_tests
    type: notification
    short_description: Record of tasks, and a break, for FileFlux's tests
    description: Reads FILEFLUX_TEST_RECORD (a file) and FILEFLUX_TEST_BREAK_AT (a number).
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Counts starts of tasks and results; a loop gives one for each item."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fileflux_tests"

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["FILEFLUX_TEST_RECORD"]).open("a")  # noqa: SIM115
        self._break_at = int(os.environ.get("FILEFLUX_TEST_BREAK_AT", "0"))
        self._count = 0

    def _event(self, **what: Any) -> None:
        self._count += 1
        print(json.dumps(what), file=self._file, flush=True)
        if self._count == self._break_at:
            os._exit(99)

    def _result(self, status: str, result: Any) -> None:
        told = result._result
        self._event(
            task=result._task.get_name(),
            action=result._task.action,
            host=result._host.get_name(),
            status=status,
            changed=bool(told.get("changed")),
            message=str(told.get("msg", "")),
        )

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._event(start=task.get_name())

    def v2_runner_item_on_ok(self, result: Any) -> None:
        self._event(item=result._task.get_name())

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result("ok", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)
