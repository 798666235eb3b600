"""Move ingest's traffic from stable to candidate, watched by Prometheus, and back by itself.

    python tools/shift_traffic.py status
    python tools/shift_traffic.py forward --prometheus http://127.0.0.1:9090
    python tools/shift_traffic.py forward --steps 100 …      blue-green: all at once
    python tools/shift_traffic.py back

It goes back when more of the candidate's requests fail, or are refused, than of stable's, when they
take longer, when too few come to tell, when no pod of it is ready, when Prometheus or the cluster
does not answer for a minute, and on Ctrl-C. Killed in between, it leaves a note on the
VirtualService; the same command goes on there.

Exit codes: 0 done; 1 went back; 2 usage; 3 refused, nothing was changed; 4 could not go back, and
traffic stayed where it was: run `back`; 130 interrupted, went back.
"""

import argparse
import json
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.traffic_ports import KubectlRoutes, PrometheusFigures
from tools.traffic_shift import (
    STEPS,
    ClusterUnavailable,
    Figures,
    FiguresUnavailable,
    Limits,
    Result,
    Shift,
    StillShifted,
    Timing,
    UnknownState,
)

DONE: Final = 0
WENT_BACK: Final = 1
REFUSED: Final = 3
STUCK: Final = 4
INTERRUPTED: Final = 130
CODES: Final = {"done": DONE, "planned": DONE, "went back": WENT_BACK, "interrupted": INTERRUPTED}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    # A stopped job goes back, too; and a shell lets a job in its background ignore Ctrl-C.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        result = _run(options)
    except (UnknownState, ClusterUnavailable, FiguresUnavailable, ValueError) as error:
        return _tell(options, Result("refused", str(error), -1), REFUSED)
    except StillShifted as error:
        return _tell(options, Result("stuck", str(error), -1), STUCK)
    code = DONE if options.command == "back" else CODES[result.outcome]
    return _tell(options, result, code)


def _run(options: argparse.Namespace) -> Result:
    routes = KubectlRoutes(
        namespace=options.namespace,
        name=f"{options.release}-ingest",
        kubectl=shlex.split(options.kubectl),
    )
    if options.command == "status":
        return _status(routes)
    shift = Shift(
        routes,
        _figures(options),
        limits=_limits(options),
        timing=_timing(options),
        now=time.monotonic,
        wait=time.sleep,
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if options.command == "back":
        return shift.back()
    return shift.forward(options.steps, dry_run=options.dry_run)


def _status(routes: KubectlRoutes) -> Result:
    state = routes.read()
    if state.progress is None:
        return Result("done", "no roll-out is under way", state.candidate)
    steps = ",".join(map(str, state.progress.steps))
    reason = f"a roll-out is at {state.progress.candidate}% of steps {steps}"
    return Result("done", reason, state.candidate)


class _Blind:
    """`back` asks nobody for figures."""

    def sample(self, track: str, window_s: float) -> Any:
        raise FiguresUnavailable(f"nobody is asked for {track} ({window_s} s)")


def _figures(options: argparse.Namespace) -> Figures:
    if options.command == "back":
        return _Blind()
    labels = f'job="ingest",namespace="{options.namespace}"'
    return PrometheusFigures(options.prometheus, labels=labels)


def _limits(options: argparse.Namespace) -> Limits:
    if options.command == "back":
        return Limits()
    return Limits(
        requests_min=options.requests,
        error_excess=options.error_excess,
        latency_factor=options.latency_factor,
    )


def _timing(options: argparse.Namespace) -> Timing:
    if options.command == "back":
        return Timing()
    return Timing(
        step_s=options.step_seconds,
        quiet_s=options.quiet_seconds,
        interval_s=options.interval_seconds,
        patience_s=options.patience_seconds,
    )


def _tell(options: argparse.Namespace, result: Result, code: int) -> int:
    if options.json:
        print(json.dumps({**asdict(result), "exit_code": code}))
    else:
        share = "" if result.candidate < 0 else f" (candidate {result.candidate}%)"
        print(f"{result.outcome}: {result.reason}{share}", file=sys.stderr if code else sys.stdout)
    return code


def _steps(text: str) -> tuple[int, ...]:
    steps = tuple(int(one) for one in text.split(","))
    if not steps or list(steps) != sorted(set(steps)) or steps[0] <= 0 or steps[-1] > 100:
        raise argparse.ArgumentTypeError("percents that grow, from 1 to 100: 1,5,25,50,100")
    return steps


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--namespace", default="fileflux", help="of the release")
    common.add_argument("--release", default="fileflux", help="its name")
    common.add_argument("--kubectl", default="kubectl", help="the command, with options of yours")
    common.add_argument("--json", action="store_true", help="one JSON object on standard output")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", parents=[common], help="who gets how much")
    commands.add_parser("back", parents=[common], help="all to stable, now")
    _forward(commands.add_parser("forward", parents=[common], help="to the candidate, watched"))
    return parser


def _forward(parser: argparse.ArgumentParser) -> None:
    limits, timing = Limits(), Timing()
    parser.add_argument("--prometheus", required=True, help="its address, http://HOST:PORT")
    parser.add_argument("--steps", type=_steps, default=STEPS, help="percents, comma separated")
    parser.add_argument("--dry-run", action="store_true", help="check and tell, change nothing")
    for name, default, what in (
        ("--requests", limits.requests_min, "of the candidate before a step is good"),
        ("--error-excess", limits.error_excess, "share of failures above stable's"),
        ("--latency-factor", limits.latency_factor, "times stable's 99th percentile"),
        ("--step-seconds", timing.step_s, "a step lasts at least"),
        ("--quiet-seconds", timing.quiet_s, "with too few requests for so long: back"),
        ("--interval-seconds", timing.interval_s, "between two looks"),
        ("--patience-seconds", timing.patience_s, "Prometheus may be away so long"),
    ):
        kind = type(default)
        parser.add_argument(name, type=kind, default=default, help=f"{what} (default {default})")


if __name__ == "__main__":
    sys.exit(main())
