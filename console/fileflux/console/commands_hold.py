"""`fileflux hold`: history that has to stay for a while."""

import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fileflux.console.admin import OPERATOR
from fileflux.console.command_help import DEFAULT_DATA_DIR, EXIT_CODES, AsJson, DataDir
from fileflux.console.commands_rebuild import until_option
from fileflux.console.ending import end_with
from fileflux.console.times import time_text
from fileflux.console.upload_story import printable
from fileflux.console.wiring import Metadata, database_surroundings, open_metadata
from fileflux.core.changes import CreateHold, Outcome, ReleaseHold
from fileflux.core.clock import SystemClock
from fileflux.core.errors import Invalid
from fileflux.core.ids import UploadId, new_id, parse_id
from fileflux.metadata.apply_holds import HOLD_DAYS_MAX
from fileflux.metadata.chain import FIRST_POSITION
from fileflux.metadata.hold_rules import in_force
from fileflux.metadata.rebuild import EVERYTHING, Until
from fileflux.metadata.record_sources import DatabaseRecords
from fileflux.metadata.restore_moment import Moment, moment_of
from fileflux.metadata.rows import HoldRow

REASON_SIZE_MAX: Final = 200
DAY_US: Final = 24 * 3600 * 1_000_000

app = typer.Typer(help="Keep history for a while.", no_args_is_help=True)


@app.command("create", epilog=EXIT_CODES)
def create(
    reason: Annotated[str, typer.Option("--reason", help="Why; whoever lists holds reads it.")],
    days: Annotated[
        int, typer.Option("--days", min=1, max=HOLD_DAYS_MAX, help="How long it lasts.")
    ],
    start: Annotated[
        str,
        typer.Option("--from", help="Position or time; otherwise all that there still is."),
    ] = "",
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Keep what there is from a moment on, until the hold runs out or is released.

    Audit records from there on stay in the database, though the archive has them; bytes that were
    dropped since stay on the nodes beyond their grace period, so that they can be restored.

    Example: fileflux hold create --reason "who deleted the invoices?" --days 14

    Example: fileflux hold create --reason "case 17" --days 30 --from 2026-03-01T00:00:00Z --json
    """
    if not 0 < len(reason) <= REASON_SIZE_MAX or not reason.isprintable():
        raise typer.BadParameter(f"a reason has 1 to {REASON_SIZE_MAX} characters, all printable")
    moment = until_option(start) if start else EVERYTHING
    _run(data_dir, as_json, lambda metadata: _create(metadata, reason, days, moment))


@app.command("list", epilog=EXIT_CODES)
def list_holds(as_json: AsJson = False, data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Show every hold: what it keeps, until when, and why.

    Example: fileflux hold list --json
    """
    _run(data_dir, as_json, _list)


@app.command("release", epilog=EXIT_CODES)
def release(
    hold: Annotated[str, typer.Argument(help="The hold's id, as `hold list` shows it.")],
    as_json: AsJson = False,
    data_dir: DataDir = DEFAULT_DATA_DIR,
) -> None:
    """Let go of a hold before it runs out.

    Example: fileflux hold release 5f0c8a4e9d1b4b7fa1a02f6d2f0b9c11
    """
    try:
        hold_id = UploadId(parse_id(hold))
    except (ValueError, Invalid):
        raise typer.BadParameter(f"{hold!r} is no id: 32 hexadecimal digits") from None
    _run(data_dir, as_json, lambda metadata: _release(metadata, hold_id))


async def _create(metadata: Metadata, reason: str, days: int, start: Until) -> list[dict[str, Any]]:
    now_us = await metadata.reader.clock_us()
    moment = Moment(FIRST_POSITION, 0)
    if start != EVERYTHING:
        moment = await moment_of(metadata.reader, DatabaseRecords(metadata.reader), start)
    change = CreateHold(
        **_who(),
        hold_id=UploadId(new_id(random.SystemRandom())),
        kind="operator",
        reason=reason,
        from_position=moment.position,
        from_us=moment.from_us,
        until_us=now_us + days * DAY_US,
    )
    holds = await metadata.reader.holds()
    living = {hold.hold_id for hold in in_force(holds, now_us)}
    old = [ReleaseHold(**_who(), hold_id=one.hold_id) for one in holds if one.hold_id not in living]
    outcome, *_ = await metadata.direct.submit_together(change, *old)
    _check(outcome)
    return [one for one in await _list(metadata) if one["id"] == change.hold_id.hex()]


async def _list(metadata: Metadata) -> list[dict[str, Any]]:
    now_us = await metadata.reader.clock_us()
    return [_facts_of(hold, now_us) for hold in await metadata.reader.holds()]


async def _release(metadata: Metadata, hold_id: UploadId) -> list[dict[str, Any]]:
    (outcome,) = await metadata.direct.submit_together(ReleaseHold(**_who(), hold_id=hold_id))
    if outcome.status == "NoSuchHold":
        raise Invalid(f"there is no hold {hold_id.hex()}: see `fileflux hold list`")
    _check(outcome)
    return []


def _check(outcome: Outcome) -> None:
    if not outcome.ok:
        raise Invalid(f"{outcome.status} {outcome.detail}".rstrip())


def _who() -> dict[str, Any]:
    upload_id = UploadId(new_id(random.SystemRandom()))
    return {"upload_id": upload_id, "actor": OPERATOR, "at_us": SystemClock().now_us()}


def _facts_of(hold: HoldRow, now_us: int) -> dict[str, Any]:
    return {
        "id": hold.hold_id.hex(),
        "kind": hold.kind,
        "from_position": hold.from_position,
        "until": time_text(hold.until_us),
        "has_run_out": hold.until_us <= now_us,
        "reason": hold.reason,
    }


def _line_of(one: dict[str, Any]) -> str:
    ends = "ran out" if one["has_run_out"] else "until"
    return (
        f"{one['id']} {one['kind']:<8} from {one['from_position']:>10} {ends} {one['until']} "
        f"{printable(one['reason'])}"
    )


def _run(
    data_dir: Path, as_json: bool, ask: Callable[[Metadata], Awaitable[list[dict[str, Any]]]]
) -> None:
    async def work() -> int:
        async with open_metadata(database_surroundings(data_dir)) as metadata:
            found = await ask(metadata)
        if as_json:
            typer.echo(json.dumps({"holds": found}))
        else:
            typer.echo("\n".join(map(_line_of, found)) or "no hold")
        return 0

    end_with(work)
