"""What operators do to subscriptions; every method returns JSON-ready facts or raises."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fileflux.console.admin import AdminRefused
from fileflux.core.clock import Clock, SystemClock
from fileflux.core.ids import new_id
from fileflux.metadata.audit_log import position_at, read_database
from fileflux.metadata.chain import FIRST_POSITION
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.webhook_ports import WebhookAdmin
from fileflux.metadata.webhook_rows import AttemptRow, ReplayRow, State, Subscription
from fileflux.webhooks.egress import parse_url
from fileflux.webhooks.filters import check_event_names, wants
from fileflux.webhooks.intake import told
from fileflux.webhooks.messages import TEST_POSITION, to_queue
from fileflux.webhooks.rendering import FORMATS, render, render_test
from fileflux.webhooks.signing import ROTATION_S, new_secret

TEST_EVENT: Final = "test"
TEST_WAIT_S: Final = 30.0
TEST_POLL_S: Final = 0.2
SAMPLES: Final = 5
REDRIVEN_AT_ONCE: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Webhooks:
    """Subscriptions, their queues and their replays."""

    def __init__(
        self,
        store: WebhookAdmin,
        reader: MetadataReader,
        master_key: bytes,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._master_key = master_key
        self._clock = clock or SystemClock()
        self._rng = random.SystemRandom()

    async def create(
        self,
        bucket: str,
        url: str,
        *,
        form: str,
        event_names: Sequence[str],
        prefix: str,
        suffix: str,
    ) -> dict[str, Any]:
        """From now on; the secret is shown once. `form`: one of FORMATS."""
        parse_url(url)
        check_event_names(event_names)
        if form not in FORMATS:
            raise AdminRefused(f"a format is one of: {', '.join(FORMATS)}")
        found = (await self._reader.find_buckets([bucket])).get(bucket)
        if found is None:
            raise AdminRefused(f"there is no bucket {bucket}")
        name, secret, now_us = new_id(self._rng), new_secret(), self._clock.now_us()
        one = Subscription(
            subscription_id=name,
            owner_id=found.owner_id,
            bucket_id=found.bucket_id,
            bucket=bucket,
            url=url,
            format=form,
            event_names=tuple(event_names),
            prefix=prefix.encode(),
            suffix=suffix.encode(),
            secret=encrypt_secret(self._master_key, name.hex(), secret),
            old_secret=None,
            old_secret_until_us=0,
            state="active",
            reason="",
            is_live=False,
            next_position=(await self._reader.audit_head(STREAM)).next_position,
            created_us=now_us,
            changed_us=now_us,
        )
        await self._store.put_subscription(one)
        return {**_shown(one), "secret": secret}

    async def every(self, bucket: str) -> list[dict[str, Any]]:
        """All of them; `bucket` empty: of every bucket."""
        every = await self._store.subscriptions()
        return [_shown(one) for one in every if bucket in ("", one.bucket)]

    async def show(self, name: str) -> dict[str, Any]:
        one = await self._find(name)
        waiting = await self._store.waiting(one.subscription_id)
        cursor = await self._store.cursor()
        position = one.next_position if cursor is None or not one.is_live else cursor.next_position
        return {
            **_shown(one),
            "waiting": waiting.count,
            "oldest": _time(waiting.oldest_us) if waiting.count else "",
            "failed_attempts": waiting.attempts_max,
            "dead": await self._store.dead_count(one.subscription_id),
            "read_to": position - 1,
            "numbered_to": (await self._reader.audit_head(STREAM)).next_position - 1,
        }

    async def set_state(self, name: str, state: State) -> dict[str, Any]:
        """Pause, resume (and send at once what was put off) or remove."""
        one = await self._find(name)
        await self._store.set_state(one.subscription_id, state, "")
        if state == "active":
            await self._store.retry_now(one.subscription_id, self._clock.now_us())
        return {"webhook": one.subscription_id.hex(), "state": state}

    async def rotate_secret(self, name: str) -> dict[str, Any]:
        """Both sign for a day; the new one is shown once."""
        one = await self._find(name)
        secret = new_secret()
        until_us = self._clock.now_us() + ROTATION_S * 1_000_000
        stored = encrypt_secret(self._master_key, one.subscription_id.hex(), secret)
        await self._store.rotate_secret(one.subscription_id, stored, until_us)
        return {
            "webhook": one.subscription_id.hex(),
            "secret": secret,
            "old_secret_until": _time(until_us),
        }

    async def test(self, name: str) -> dict[str, Any]:
        """Queue a test message and wait for its attempt; raise AdminRefused if it failed."""
        one = await self._find(name)
        if one.state != "active":
            raise AdminRefused(f"the subscription is {one.state}: resume it first")
        run_id, now_us = new_id(self._rng), self._clock.now_us()
        message_id = f"test-{run_id.hex()}"
        delivery = to_queue(
            one,
            render_test(one, event_id=message_id, time=_time(now_us)),
            run_id=run_id,
            position=TEST_POSITION,
            key=run_id,
            message_id=message_id,
            event_name=TEST_EVENT,
            now_us=now_us,
        )
        await self._store.put_delivery(delivery)
        return await self._result_of(one, message_id)

    async def attempts(self, name: str, limit: int) -> list[dict[str, Any]]:
        one = await self._find(name)
        return [_attempt(row) for row in await self._store.attempts(one.subscription_id, limit)]

    async def dead(self, name: str, limit: int) -> list[dict[str, Any]]:
        """What was given up, the oldest first."""
        one = await self._find(name)
        return [
            {
                "event_id": letter.message_id,
                "event": letter.event_name,
                "position": letter.position,
                "attempts": letter.attempts,
                "given_up": _time(letter.dead_us),
                "problem": letter.problem,
                "body": letter.body.decode(errors="replace"),
            }
            for letter in await self._store.dead_letters(one.subscription_id, limit)
        ]

    async def redrive(self, name: str) -> dict[str, Any]:
        """Queue again what was given up."""
        one = await self._find(name)
        total = 0
        while count := await self._store.redrive(
            one.subscription_id, self._clock.now_us(), REDRIVEN_AT_ONCE
        ):
            total += count
        return {"webhook": one.subscription_id.hex(), "queued": total}

    async def replay(self, name: str, start: str, *, rate: int) -> dict[str, Any]:
        """Send past events again, up to now. `start`: `beginning`, a position or a time."""
        one = await self._find(name)
        first, end = await self._range(start)
        replay = ReplayRow(
            subscription_id=one.subscription_id,
            run_id=new_id(self._rng),
            next_position=first,
            end_position=end,
            rate=rate,
        )
        if first < end:
            await self._store.put_replay(replay)
        return {
            "webhook": one.subscription_id.hex(),
            "replay": replay.run_id.hex(),
            "from": first,
            "to": end - 1,
            "per_second": rate,
        }

    async def would_send(self, name: str, start: str) -> dict[str, Any]:
        """What a replay would send: counts by event, and a few bodies. Nothing is sent."""
        one = await self._find(name)
        first, end = await self._range(start)
        counts: dict[str, int] = {}
        samples: list[str] = []
        async for record in read_database(self._reader, first_position=first):
            if record.position >= end:
                break
            occurrence = told(record)
            if occurrence is None or not wants(one, occurrence):
                continue
            counts[occurrence.name] = counts.get(occurrence.name, 0) + 1
            if len(samples) < SAMPLES:
                samples.append(render(one, occurrence).body.decode())
        return {
            "webhook": one.subscription_id.hex(),
            "from": first,
            "to": end - 1,
            "would_send": sum(counts.values()),
            "by_event": counts,
            "samples": samples,
        }

    async def _range(self, start: str) -> tuple[int, int]:
        end = (await self._reader.audit_head(STREAM)).next_position
        if start == "beginning":
            return FIRST_POSITION, end
        if start.isascii() and start.isdigit():
            return min(max(FIRST_POSITION, int(start)), end), end
        return await position_at(self._reader, _micros(start)), end

    async def _find(self, name: str) -> Subscription:
        """By its id, or the beginning of it if that is one's alone."""
        if len(name) < 4:
            raise AdminRefused("name a subscription by at least 4 digits of its id")
        every = await self._store.subscriptions()
        found = [one for one in every if one.subscription_id.hex().startswith(name.lower())]
        if len(found) != 1:
            raise AdminRefused(f"there is {'more than one' if found else 'no'} webhook {name}")
        return found[0]

    async def _result_of(self, one: Subscription, message_id: str) -> dict[str, Any]:
        deadline_s = self._clock.monotonic_s() + TEST_WAIT_S
        while self._clock.monotonic_s() < deadline_s:
            for row in await self._store.attempts(one.subscription_id, 50):
                if row.message_id == message_id:
                    return {"webhook": one.subscription_id.hex(), **_attempt(row)}
            await self._clock.sleep(TEST_POLL_S)
        raise AdminRefused(
            f"no attempt within {TEST_WAIT_S:.0f} s: does `python -m fileflux.webhooks` run?"
        )


def _shown(one: Subscription) -> dict[str, Any]:
    return {
        "webhook": one.subscription_id.hex(),
        "bucket": one.bucket,
        "url": one.url,
        "format": one.format,
        "events": list(one.event_names),
        "prefix": one.prefix.decode(),
        "suffix": one.suffix.decode(),
        "state": one.state,
        "reason": one.reason,
        "created": _time(one.created_us),
    }


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "at": _time(row.at_us),
        "event_id": row.message_id,
        "status": row.status,
        "latency_ms": round(row.latency_us / 1_000, 1),
        "head": row.head,
        "problem": row.problem,
    }


def _time(at_us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _micros(text: str) -> int:
    """ISO 8601; without a zone it is UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AdminRefused(f"{text} is neither `beginning`, a position nor a time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)
