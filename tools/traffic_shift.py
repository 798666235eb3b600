"""Move ingest's traffic to its candidate step by step, and back when figures say so.

Pure decisions (`judge`, `begin_or_resume`) and the loop around them. The cluster and Prometheus are
behind two ports (tools/traffic_ports.py), time behind a function: tests decide what happens.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

STEPS: Final = (1, 5, 25, 50, 100)
TRACKS: Final = ("stable", "candidate")
WINDOW_S_MIN: Final = 60.0
"""Two scrapes at least, or there is no increase to see."""
BACK_TRIES: Final = 5


class ClusterUnavailable(Exception):
    """The cluster did not answer, or refused."""


class FiguresUnavailable(Exception):
    """Prometheus did not answer, or not with figures."""


class StillShifted(Exception):
    """Going back failed: traffic stays where it was, and a person has to act."""


class UnknownState(Exception):
    """What is there is not what this tool left: a person has to look first."""


class Verdict(StrEnum):
    """What the figures of one look say."""

    WAIT = "wait"
    GOOD = "good"
    BREACH = "breach"


@dataclass(frozen=True, slots=True)
class Sample:
    """One track's requests within the window: all, those answered 5xx, those answered 4xx.

    `p99_s`: None where there were none.
    """

    requests: float
    errors: float
    refusals: float
    p99_s: float | None

    @property
    def error_ratio(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    @property
    def refusal_ratio(self) -> float:
        return self.refusals / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a candidate is worse than what runs.

    `requests_min`: of the candidate, before a step is good. `errors_min`: fewer are chance.
    `error_excess`, `refusal_excess`: share of 5xx and of 4xx above stable's; a candidate that takes
    every signature for a forged one answers 403 and fails nothing. `latency_factor`: times stable's
    99th percentile; below `latency_floor_s` it does not matter.
    """

    requests_min: int = 500
    errors_min: int = 5
    error_excess: float = 0.01
    refusal_excess: float = 0.05
    latency_factor: float = 1.5
    latency_floor_s: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """`step_s`: a step lasts at least so long. `quiet_s`: without enough requests until then, back.
    `patience_s`: so long Prometheus may be away. `interval_s`: between two looks."""

    step_s: float = 120.0
    quiet_s: float = 3600.0
    patience_s: float = 60.0
    interval_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a roll-out is; kept beside the weights. `baseline`: stable's figures while it had some,
    which the last step is compared with."""

    steps: tuple[int, ...]
    step: int
    baseline: Sample | None = None

    @property
    def candidate(self) -> int:
        return self.steps[self.step]

    def to_json(self) -> str:
        return json.dumps({"version": 1, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Progress":
        """Raises UnknownState for what another version, or somebody else, wrote."""
        try:
            found = json.loads(text)
            if found.pop("version") != 1:
                raise UnknownState(f"the roll-out was begun by another version: {text}")
            baseline = found.pop("baseline")
            made = cls(
                steps=tuple(int(one) for one in found.pop("steps")),
                step=int(found.pop("step")),
                baseline=Sample(**baseline) if baseline else None,
            )
            if found or not 0 <= made.step < len(made.steps):
                raise UnknownState(f"the roll-out's note is not ours: {text}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnknownState(f"the roll-out's note cannot be read: {text}") from error
        return made


@dataclass(frozen=True, slots=True)
class RouteState:
    """`candidate`: percent that it gets. `progress`: of a roll-out that has begun."""

    candidate: int
    progress: Progress | None


class Routes(Protocol):
    """The weights of the mesh's routes. Each method raises ClusterUnavailable."""

    def read(self) -> RouteState:
        """Raises UnknownState when routes disagree or are not the chart's."""

    def write(self, candidate: int, progress: Progress | None) -> None:
        """Set all routes at once, or none; refuse when somebody changed them since `read`."""

    def candidates_ready(self) -> int:
        """Return how many pods of the candidate are ready."""


class Figures(Protocol):
    """What the tracks did lately. Raises FiguresUnavailable."""

    def sample(self, track: str, window_s: float) -> Sample: ...


@dataclass(frozen=True, slots=True)
class Result:
    """How it ended. `went_back`: all traffic is stable's again."""

    outcome: str
    reason: str
    candidate: int
    went_back: bool = False


def judge(stable: Sample, candidate: Sample, limits: Limits) -> tuple[Verdict, str]:
    """Compare a candidate with what runs; return the verdict and its reason. Pure."""
    worse = _is_worse(stable, candidate, limits)
    if worse:
        return Verdict.BREACH, worse
    if candidate.requests < limits.requests_min:
        return Verdict.WAIT, f"{candidate.requests:.0f} of {limits.requests_min} requests"
    slow = _is_slow(stable, candidate, limits)
    return (Verdict.BREACH, slow) if slow else (Verdict.GOOD, "no worse than stable")


def _is_worse(stable: Sample, candidate: Sample, limits: Limits) -> str:
    for what, count, theirs, ours, most in (
        (
            "failed",
            candidate.errors,
            candidate.error_ratio,
            stable.error_ratio,
            limits.error_excess,
        ),
        (
            "were refused",
            candidate.refusals,
            candidate.refusal_ratio,
            stable.refusal_ratio,
            limits.refusal_excess,
        ),
    ):
        if count >= limits.errors_min and theirs - ours > most:
            return f"{theirs:.2%} of the candidate's requests {what}, {ours:.2%} of stable's"
    return ""


def _is_slow(stable: Sample, candidate: Sample, limits: Limits) -> str:
    if candidate.p99_s is None or stable.p99_s is None or candidate.p99_s <= limits.latency_floor_s:
        return ""
    if candidate.p99_s <= stable.p99_s * limits.latency_factor:
        return ""
    return f"the candidate's p99 is {candidate.p99_s:.3f} s, stable's {stable.p99_s:.3f} s"


def begin_or_resume(state: RouteState, steps: Sequence[int]) -> Progress:
    """Return where to go on: before the first step, or at the step that was reached. Pure.

    Raises UnknownState, with what to do.
    """
    progress = state.progress
    if progress is None:
        if state.candidate != 0:
            raise UnknownState(
                f"the candidate already gets {state.candidate}% and no roll-out says why: "
                "look who did that, then `back`"
            )
        return Progress(steps=tuple(steps), step=0)
    if progress.steps != tuple(steps):
        planned = ",".join(map(str, progress.steps))
        raise UnknownState(f"another roll-out has begun: go on with --steps {planned}, or `back`")
    if state.candidate != progress.candidate:
        raise UnknownState(
            f"the candidate gets {state.candidate}%, the roll-out left {progress.candidate}%: "
            "look who changed it, then `back`"
        )
    return progress


class Shift:
    """One run. `wait(seconds)` sleeps, `now()` tells monotonic seconds, `say` gets progress."""

    def __init__(
        self,
        routes: Routes,
        figures: Figures,
        *,
        limits: Limits,
        timing: Timing,
        now: Callable[[], float],
        wait: Callable[[float], None],
        say: Callable[[str], None],
    ) -> None:
        self._routes = routes
        self._figures = figures
        self._limits = limits
        self._timing = timing
        self._now = now
        self._wait = wait
        self._say = say

    def forward(self, steps: Sequence[int], *, dry_run: bool = False) -> Result:
        """Go through the steps; return at the last one, or back at none.

        Raises UnknownState, ClusterUnavailable and FiguresUnavailable before anything was changed,
        StillShifted when going back failed.
        """
        state = self._routes.read()
        progress = begin_or_resume(state, steps)
        if self._routes.candidates_ready() == 0:
            raise UnknownState("no pod of the candidate is ready: set ingest.tracks.candidate")
        self._figures.sample("stable", self._timing.step_s)  # Nobody flies blind.
        if dry_run:
            rest = ", ".join(f"{one}%" for one in progress.steps[progress.step :])
            return Result("planned", f"the candidate would get {rest}", state.candidate)
        try:
            return self._through(progress)
        except KeyboardInterrupt:
            return self._back("interrupted", "interrupted by a person")
        except FiguresUnavailable as error:
            return self._back("went back", f"no figures: {error}")
        except ClusterUnavailable as error:
            return self._back("went back", f"the cluster: {error}")

    def back(self, reason: str = "asked for") -> Result:
        """Give all to stable, whatever the state is."""
        return self._back("went back", reason)

    def _through(self, progress: Progress) -> Result:
        while True:
            self._routes.write(progress.candidate, progress)
            self._say(f"{progress.candidate}%: the candidate gets its share")
            verdict, reason, stable = self._watch(progress)
            if verdict is not Verdict.GOOD:
                return self._back("went back", reason)
            self._say(f"{progress.candidate}%: {reason}")
            if progress.step + 1 == len(progress.steps):
                return Result("done", reason, progress.candidate)
            progress = replace(progress, step=progress.step + 1, baseline=stable)

    def _watch(self, progress: Progress) -> tuple[Verdict, str, Sample]:
        """Look until the step is good or not; return that, why, and stable's figures."""
        began = seen = self._now()
        while True:
            self._wait(self._timing.interval_s)
            now = self._now()
            passed = now - began
            try:
                stable, candidate = self._look(progress, max(passed, WINDOW_S_MIN))
                ready = self._routes.candidates_ready()
            except (FiguresUnavailable, ClusterUnavailable) as error:
                if now - seen > self._timing.patience_s:
                    raise
                self._say(f"{progress.candidate}%: blind for {now - seen:.0f} s: {error}")
                continue
            if ready == 0:  # What proxies answer in its place is in no figure of ours.
                return Verdict.BREACH, "no pod of the candidate is ready any more", stable
            seen = now
            verdict, reason = judge(stable, candidate, self._limits)
            if verdict is Verdict.BREACH:
                return verdict, reason, stable
            if verdict is Verdict.GOOD and passed >= self._timing.step_s:
                return verdict, reason, stable
            if passed > self._timing.quiet_s:
                return Verdict.BREACH, f"too few requests to tell: {reason}", stable
            self._say(f"{progress.candidate}%: {reason}, {passed:.0f} s")

    def _look(self, progress: Progress, window_s: float) -> tuple[Sample, Sample]:
        candidate = self._figures.sample("candidate", window_s)
        stable = self._figures.sample("stable", window_s)
        if progress.candidate == 100 and progress.baseline is not None:
            stable = progress.baseline  # It gets nothing any more: what it did before counts.
        return stable, candidate

    def _back(self, outcome: str, reason: str) -> Result:
        """Raises StillShifted after some tries."""
        self._say(f"back to stable: {reason}")
        problem = ""
        for number in range(BACK_TRIES):
            if number:
                self._wait(self._timing.interval_s)
            try:
                self._write_back()
            except (ClusterUnavailable, KeyboardInterrupt) as error:
                problem = str(error) or "interrupted"
                self._say(f"not back yet: {problem}")
            else:
                return Result(outcome, reason, 0, went_back=True)
        raise StillShifted(f"{reason}; and traffic could not be moved back: {problem}")

    def _write_back(self) -> None:
        try:
            self._routes.read()
        except UnknownState as error:
            self._say(f"what was there is overwritten: {error}")
        self._routes.write(0, None)
