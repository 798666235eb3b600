"""When the next attempt is due, and when there is none."""

import email.utils
import random

from fileflux.webhooks.retry import (
    BACKOFF_S,
    RETRY_AFTER_S_MAX,
    RETRY_WINDOW_S,
    Result,
    next_attempt_us,
    retry_after_s,
)

NOW_US = 1_800_000_000_000_000


def due_s(attempts: int, *, age_s: float = 0, retry_after: str = "", seed: int = 1) -> float | None:
    found = next_attempt_us(
        Result(status=500, latency_us=1, retry_after=retry_after),
        attempts=attempts,
        queued_us=NOW_US - int(age_s * 1_000_000),
        now_us=NOW_US,
        rng=random.Random(seed),
    )
    return None if found is None else (found - NOW_US) / 1_000_000


def test_back_off_grows_to_hours_with_jitter() -> None:
    for attempts in range(1, 20):
        expected = BACKOFF_S[min(attempts, len(BACKOFF_S)) - 1]
        waits = {due_s(attempts, seed=seed) for seed in range(50)}
        assert len(waits) > 40
        assert all(wait and 0.79 * expected <= wait <= 1.21 * expected for wait in waits)


def test_a_delivery_is_given_up_after_days_and_not_before() -> None:
    assert due_s(12, age_s=RETRY_WINDOW_S - 1) is not None
    assert due_s(12, age_s=RETRY_WINDOW_S) is None


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
