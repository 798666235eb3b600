"""How a command ends: what it says, and with which exit code."""

import pytest
import typer

from fileflux.console.ending import end_with
from fileflux.core.errors import BrokerUnavailable


def ended(
    capfd: pytest.CaptureFixture[str], error: BaseException, **how: object
) -> tuple[int, str]:
    async def work() -> int:
        raise error

    with pytest.raises(typer.Exit) as caught:
        end_with(work, **how)  # type: ignore[arg-type]
    return caught.value.exit_code, capfd.readouterr().err


def test_what_could_not_be_done_is_said_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert ended(capfd, BrokerUnavailable("no broker")) == (1, "cannot: no broker\n")


def test_who_interrupts_hears_what_the_command_wants(capfd: pytest.CaptureFixture[str]) -> None:
    """`audit tail` ends well and silently; a rebuild says that it goes on."""
    assert ended(capfd, KeyboardInterrupt()) == (1, "interrupted\n")
    assert ended(capfd, KeyboardInterrupt(), interrupted="goes on") == (1, "goes on\n")
    assert ended(capfd, KeyboardInterrupt(), interrupted="", interrupted_code=0) == (0, "")
