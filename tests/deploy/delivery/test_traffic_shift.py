"""Traffic goes forward while the candidate is no worse, and back by itself in every other case."""

from collections.abc import Callable
from typing import Any

import pytest
from tools.traffic_shift import (
    BACK_TRIES,
    ClusterUnavailable,
    FiguresUnavailable,
    Limits,
    Progress,
    Result,
    RouteState,
    Sample,
    Shift,
    StillShifted,
    Timing,
    UnknownState,
    Verdict,
    judge,
)

STEPS = (5, 50, 100)
GOOD = Sample(requests=10_000, errors=10, refusals=100, p99_s=0.08)
FAILS = Sample(requests=1_000, errors=80, refusals=10, p99_s=0.08)
REFUSES = Sample(requests=1_000, errors=0, refusals=900, p99_s=0.01)
SLOW = Sample(requests=1_000, errors=1, refusals=10, p99_s=0.5)
QUIET = Sample(requests=3, errors=0, refusals=0, p99_s=0.02)


class FakeRoutes:
    """The mesh in memory. `breaks` is asked before each call, by its name."""

    def __init__(self, candidate: int = 0, progress: Progress | None = None) -> None:
        self.state = RouteState(candidate, progress)
        self.history: list[int] = []
        self.ready = 2
        self.breaks: Callable[[str], None] = lambda _: None

    def read(self) -> RouteState:
        self.breaks("read")
        return self.state

    def write(self, candidate: int, progress: Progress | None) -> None:
        self.breaks("write")
        self.state = RouteState(candidate, progress)
        self.history.append(candidate)

    def candidates_ready(self) -> int:
        self.breaks("candidates_ready")
        return self.ready


class FakeFigures:
    """What each track did; a function of the track, so that a test may change its mind."""

    def __init__(self, candidate: Sample = GOOD, stable: Sample = GOOD) -> None:
        self.samples = {"candidate": candidate, "stable": stable}
        self.breaks: Callable[[], None] = lambda: None

    def sample(self, track: str, window_s: float) -> Sample:
        assert window_s >= 60
        self.breaks()
        return self.samples[track]


class World:
    """A shift whose time passes when it waits."""

    def __init__(self, routes: FakeRoutes, figures: FakeFigures, **timing: Any) -> None:
        self.routes, self.figures = routes, figures
        self.now_s = 0.0
        self.said: list[str] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.shift = Shift(
            routes,
            figures,
            limits=Limits(),
            timing=Timing(**timing),
            now=lambda: self.now_s,
            wait=self._wait,
            say=self.said.append,
        )

    def _wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.on_wait()

    def forward(self) -> Result:
        return self.shift.forward(STEPS)


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: Any) -> None:
        raise error

    return fail


def test_a_good_candidate_gets_everything_step_by_step() -> None:
    world = World(FakeRoutes(), FakeFigures())
    assert world.forward() == Result("done", "no worse than stable", 100)
    assert world.routes.history == [5, 50, 100]
    assert world.now_s >= 3 * Timing().step_s


@pytest.mark.parametrize(
    ("candidate", "why"),
    [(FAILS, "failed"), (REFUSES, "were refused"), (SLOW, "p99")],
    ids=["fails", "refuses", "slow"],
)
def test_a_worse_candidate_loses_all_at_its_first_step(candidate: Sample, why: str) -> None:
    world = World(FakeRoutes(), FakeFigures(candidate))
    result = world.forward()
    assert (result.outcome, result.candidate, result.went_back) == ("went back", 0, True)
    assert why in result.reason
    assert world.routes.history == [5, 0]
    assert world.routes.state == RouteState(0, None)


def test_a_breach_is_seen_before_the_step_has_lasted() -> None:
    world = World(FakeRoutes(), FakeFigures(FAILS))
    world.forward()
    assert world.now_s <= Timing().interval_s


def test_what_stable_suffers_too_is_not_the_candidates_fault() -> None:
    world = World(FakeRoutes(), FakeFigures(FAILS, FAILS))
    assert world.forward().outcome == "done"


def test_few_failures_are_chance() -> None:
    few = Sample(requests=100, errors=4, refusals=0, p99_s=0.02)
    assert judge(GOOD, few, Limits())[0] is Verdict.WAIT


def test_too_few_requests_to_tell_end_in_going_back() -> None:
    world = World(FakeRoutes(), FakeFigures(QUIET), quiet_s=600)
    result = world.forward()
    assert result.went_back
    assert "too few requests" in result.reason
    assert world.routes.history == [5, 0]


def test_the_last_step_is_compared_with_what_stable_did_before() -> None:
    """At 100% stable gets nothing: nothing failed there and nothing was slow."""
    routes, figures = FakeRoutes(), FakeFigures()
    world = World(routes, figures)

    def nothing_for_stable() -> None:
        if routes.state.candidate == 100:
            figures.samples = {"candidate": SLOW, "stable": QUIET}

    world.on_wait = nothing_for_stable
    result = world.forward()
    assert result.went_back
    assert "stable's 0.080 s" in result.reason
    assert routes.history == [5, 50, 100, 0]


def test_a_candidate_without_ready_pods_loses_all_whatever_the_figures_say() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.on_wait = lambda: setattr(world.routes, "ready", 0)
    result = world.forward()
    assert result.went_back
    assert "no pod" in result.reason


def test_a_prometheus_that_hiccups_stops_nothing() -> None:
    world = World(FakeRoutes(), FakeFigures())

    def hiccup() -> None:
        away = 100 < world.now_s < 140
        world.figures.breaks = raising(FiguresUnavailable("gone")) if away else lambda: None

    world.on_wait = hiccup
    assert world.forward().outcome == "done"
    assert any("blind" in line for line in world.said)


def test_a_prometheus_that_stays_away_ends_in_going_back() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.on_wait = lambda: setattr(
        world.figures, "breaks", raising(FiguresUnavailable("connection refused"))
    )
    result = world.forward()
    assert result.went_back
    assert "connection refused" in result.reason
    assert world.now_s <= Timing().patience_s + 2 * Timing().interval_s


def test_without_prometheus_nothing_is_begun() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.figures.breaks = raising(FiguresUnavailable("gone"))
    with pytest.raises(FiguresUnavailable):
        world.forward()
    assert world.routes.history == []


def test_without_a_candidate_nothing_is_begun() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.routes.ready = 0
    with pytest.raises(UnknownState, match="no pod of the candidate"):
        world.forward()
    assert world.routes.history == []


def test_ctrl_c_goes_back_and_says_who_did_it() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.on_wait = raising(KeyboardInterrupt())
    result = world.forward()
    assert (result.outcome, result.went_back) == ("interrupted", True)
    assert world.routes.history == [5, 0]


def test_an_impatient_second_ctrl_c_does_not_leave_traffic_behind() -> None:
    world = World(FakeRoutes(), FakeFigures())
    world.on_wait = raising(KeyboardInterrupt())
    presses = iter([raising(KeyboardInterrupt())])

    def press(name: str) -> None:
        if name == "read" and world.routes.history:
            world.on_wait = lambda: None
            next(presses, lambda _: None)(name)

    world.routes.breaks = press
    assert world.forward().went_back
    assert world.routes.state.candidate == 0


def test_a_cluster_that_refuses_once_is_asked_again_to_go_back() -> None:
    world = World(FakeRoutes(), FakeFigures(FAILS))
    refusals = iter([None, raising(ClusterUnavailable("somebody wrote"))])

    def refuse(name: str) -> None:
        if name == "write" and (fail := next(refusals, None)):
            fail()

    world.routes.breaks = refuse
    assert world.forward().went_back
    assert world.routes.history == [5, 0]


def test_who_cannot_go_back_says_so_after_some_tries() -> None:
    world = World(FakeRoutes(), FakeFigures(FAILS))
    tries = []

    def gone(name: str) -> None:
        if world.routes.history and name == "read":
            tries.append(name)
            raise ClusterUnavailable("no route to host")

    world.routes.breaks = gone
    with pytest.raises(StillShifted, match="no route to host"):
        world.forward()
    assert len(tries) == BACK_TRIES
    assert world.routes.state.candidate == 5


def test_a_killed_run_is_gone_on_with_where_it_was() -> None:
    first = World(FakeRoutes(), FakeFigures())

    def kill() -> None:
        if first.routes.state.candidate == 50:
            raise SystemExit

    first.on_wait = kill
    with pytest.raises(SystemExit):
        first.forward()
    assert first.routes.state.candidate == 50
    second = World(first.routes, FakeFigures())
    assert second.forward().outcome == "done"
    assert first.routes.history == [5, 50, 50, 100]


@pytest.mark.parametrize(
    ("candidate", "progress", "said"),
    [
        (20, None, "already gets 20%"),
        (20, Progress(steps=STEPS, step=0), "left 5%"),
        (5, Progress(steps=(5, 100), step=0), "--steps 5,100"),
    ],
    ids=["weights without a note", "weights changed since", "another plan"],
)
def test_a_state_that_it_did_not_leave_is_refused(
    candidate: int, progress: Progress | None, said: str
) -> None:
    world = World(FakeRoutes(candidate, progress), FakeFigures())
    with pytest.raises(UnknownState, match=said):
        world.forward()
    assert world.routes.history == []


def test_back_works_from_any_state() -> None:
    world = World(FakeRoutes(20), FakeFigures())
    world.figures.breaks = raising(FiguresUnavailable("gone"))
    assert world.shift.back().went_back
    assert world.routes.state == RouteState(0, None)


def test_a_dry_run_checks_everything_and_changes_nothing() -> None:
    world = World(FakeRoutes(), FakeFigures())
    result = world.shift.forward(STEPS, dry_run=True)
    assert (result.outcome, result.reason) == (
        "planned",
        "the candidate would get 5%, 50%, 100%",
    )
    assert world.routes.history == []


@pytest.mark.parametrize(
    "note",
    ["", "[]", "{}", '{"version": 2}', '{"version": 1, "steps": [1], "step": 1, "baseline": null}'],
)
def test_a_note_that_is_not_ours_is_refused(note: str) -> None:
    with pytest.raises(UnknownState):
        Progress.from_json(note)


def test_a_note_is_read_as_it_was_written() -> None:
    note = Progress(steps=STEPS, step=2, baseline=GOOD)
    assert Progress.from_json(note.to_json()) == note
