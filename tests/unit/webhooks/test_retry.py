"""When the next attempt is due, and when there is none."""

import email.utils
import random

from fileflux.webhooks.retry import (
    BACKOFF_S,
    LANES_MAX,
    RETRY_AFTER_S_MAX,
    RETRY_WINDOW_S,
    TRIES_MIN,
    Patience,
    Result,
    next_attempt_us,
    retry_after_s,
)

NOW_US = 1_800_000_000_000_000


def due_s(
    attempts: int,
    *,
    age_s: float = 0,
    retry_after: str = "",
    seed: int = 1,
    is_worn: bool = False,
) -> float | None:
    found = next_attempt_us(
        Result(status=500, latency_us=1, retry_after=retry_after),
        attempts=attempts,
        queued_us=NOW_US - int(age_s * 1_000_000),
        now_us=NOW_US,
        is_worn=is_worn,
        rng=random.Random(seed),
    )
    return None if found is None else (found - NOW_US) / 1_000_000


def test_back_off_grows_to_hours_with_jitter() -> None:
    for attempts in range(1, 20):
        expected = BACKOFF_S[min(attempts, len(BACKOFF_S)) - 1]
        waits = {due_s(attempts, seed=seed) for seed in range(50)}
        assert len(waits) > 40
        assert all(wait and 0.79 * expected <= wait <= 1.21 * expected for wait in waits)


def test_a_delivery_is_given_up_after_days_of_attempts_and_not_before() -> None:
    assert due_s(TRIES_MIN, age_s=RETRY_WINDOW_S - 1) is not None
    assert due_s(TRIES_MIN, age_s=RETRY_WINDOW_S) is None
    assert due_s(TRIES_MIN - 1, age_s=RETRY_WINDOW_S) is not None


def test_so_many_attempts_take_the_window() -> None:
    """The one before the last is a back-off short of it."""
    waits = [BACKOFF_S[min(n, len(BACKOFF_S)) - 1] for n in range(1, TRIES_MIN)]
    assert sum(waits[:-1]) < RETRY_WINDOW_S <= sum(waits)


def test_a_pause_or_an_outage_costs_a_delivery_no_attempt() -> None:
    """It lay for a month, and its receiver fails once more."""
    for attempts in (1, 2, TRIES_MIN - 1):
        assert due_s(attempts, age_s=30 * 24 * 3_600) is not None


def test_a_clock_that_jumps_gives_nothing_up() -> None:
    """Neither forward, nor back behind the time when the delivery was queued."""
    assert due_s(1, age_s=10 * 365 * 24 * 3_600) is not None
    assert due_s(TRIES_MIN + 1, age_s=-3_600) is not None


def test_what_waited_behind_a_delivery_that_was_given_up_goes_when_it_is_as_old() -> None:
    assert due_s(1, age_s=RETRY_WINDOW_S, is_worn=True) is None
    assert due_s(1, age_s=RETRY_WINDOW_S - 1, is_worn=True) is not None


def test_patience_is_worn_for_a_key_and_for_a_receiver_that_takes_nothing() -> None:
    patience = Patience()
    assert not patience.is_worn(b"a")
    patience.gave_up(b"a")
    assert patience.is_worn(b"a")
    assert patience.is_worn(b"b"), "nothing was taken since"
    patience.delivered(b"b")
    assert patience.is_worn(b"a"), "its key alone cannot be taken"
    assert not patience.is_worn(b"b")
    patience.delivered(b"a")
    assert not patience.is_worn(b"a")


def test_keys_that_were_given_up_are_remembered_in_bounded_memory() -> None:
    patience = Patience()
    for n in range(LANES_MAX + 1):
        patience.gave_up(n.to_bytes(16, "big"))
    assert len(patience._lanes) <= LANES_MAX


def test_retry_after_is_honoured_and_bounded() -> None:
    assert due_s(1, retry_after="120") == 120
    assert (due_s(8, retry_after="1") or 0) > 1
    assert due_s(1, retry_after="9" * 400) == RETRY_AFTER_S_MAX
    date = email.utils.formatdate(NOW_US / 1_000_000 + 90, usegmt=True)
    assert retry_after_s(date, NOW_US) == 90
    for text in ("", "soon", "-5", "1e9", "²", "Mon, 99 Foo 2026"):
        assert retry_after_s(text, NOW_US) == 0


def test_only_a_2xx_is_delivered_and_only_a_410_is_gone() -> None:
    verdicts = {status: Result(status=status, latency_us=0).verdict for status in range(0, 600)}
    assert {s for s, v in verdicts.items() if v == "delivered"} == set(range(200, 300))
    assert {s for s, v in verdicts.items() if v == "gone"} == {410}
