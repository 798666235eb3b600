"""What people do to subscriptions, by command or over HTTP; every method returns JSON-ready facts.

Nothing here reaches a receiver: messages are queued, the dispatcher sends them. So it may be used
by other processes, which have no way out of their network position.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fileflux.core.clock import Clock, SystemClock
from fileflux.core.errors import Conflict, Invalid, NoSuchBucket, NotFound, Unavailable
from fileflux.core.ids import ID_SIZE_BYTES, BucketId, new_id
from fileflux.metadata.audit_log import read_database
from fileflux.metadata.audit_record import decode_record
from fileflux.metadata.chain import NumberedRecord
from fileflux.metadata.identity import encrypt_secret
from fileflux.metadata.ports import MetadataReader
from fileflux.metadata.sequencer import STREAM
from fileflux.metadata.webhook_ports import WebhookAdmin
from fileflux.metadata.webhook_rows import AttemptRow, ReplayRow, State, Subscription
from fileflux.webhooks.egress import EgressRefused, parse_url
from fileflux.webhooks.filters import UnknownEvent, check_event_names, wants
from fileflux.webhooks.intake import told
from fileflux.webhooks.messages import TEST_POSITION, to_queue
from fileflux.webhooks.positions import PositionInvalid, range_from
from fileflux.webhooks.rendering import FORMATS, render, render_test
from fileflux.webhooks.signing import ROTATION_S, new_secret

TEST_EVENT: Final = "test"
TEST_WAIT_S: Final = 30.0
TEST_POLL_S: Final = 0.2
TESTS_BEHIND_MAX: Final = 1_000
SAMPLES: Final = 5
REDRIVEN_AT_ONCE: Final = 1_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class NoSuchWebhook(NotFound):
    """No subscription has that name, or more than one."""


class Refused(Invalid):
    """What was asked for makes no sense; the message says why."""


WRONG: Final = (Refused, EgressRefused, UnknownEvent)
"""What the person who asked got wrong, in words for that person."""


class NotNow(Conflict):
    """The subscription's state does not allow it; the message says what does."""


class NoAttempt(Unavailable):
    """Nobody made an attempt in time."""


class Webhooks:
    """Subscriptions, their queues and their replays. `reader`: of the whole audit stream."""

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
        bucket_id: BucketId | None = None,
    ) -> dict[str, Any]:
        """From now on; the secret is shown once. `form`: one of FORMATS.

        `bucket_id`: of the bucket that was meant; NoSuchBucket if another one has its name now.
        """
        parse_url(url)
        check_event_names(event_names)
        if form not in FORMATS:
            raise Refused(f"a format is one of: {', '.join(FORMATS)}")
        found = (await self._reader.find_buckets([bucket])).get(bucket)
        if found is None:
            raise Refused(f"there is no bucket {bucket}")
        if bucket_id not in (None, found.bucket_id):
            raise NoSuchBucket(bucket)
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
        return {**shown(one), "secret": secret}

    async def every(self, bucket: str) -> list[dict[str, Any]]:
        """All of them; `bucket` empty: of every bucket."""
        every = await self._store.subscriptions()
        return [shown(one) for one in every if bucket in ("", one.bucket)]

    async def show(self, name: str) -> dict[str, Any]:
        one = await self._find(name)
        waiting = await self._store.waiting(one.subscription_id)
        cursor = await self._store.cursor()
        position = one.next_position if cursor is None or not one.is_live else cursor.next_position
        return {
            **shown(one),
            "waiting": waiting.count,
            "oldest": shown_time(waiting.oldest_us) if waiting.count else "",
            "failed_attempts": waiting.attempts_max,
            "dead": await self._store.dead_count(one.subscription_id),
            "read_to": position - 1,
            "numbered_to": (await self._reader.audit_head(STREAM)).next_position - 1,
        }

    async def set_state(self, name: str, state: State) -> dict[str, Any]:
        """Pause, resume (and send at once what was put off) or remove."""
        one = await self._find(name)
        if state == "deleted":
            _refuse_derived(one, "remove it from that")
        await self._store.set_state(one.subscription_id, state, "")
        if state == "active":
            await self._store.retry_now(one.subscription_id, self._clock.now_us())
        return {"webhook": one.subscription_id.hex(), "state": state}

    async def rotate_secret(self, name: str) -> dict[str, Any]:
        """Both sign for a day; the new one is shown once."""
        one = await self._find(name)
        _refuse_derived(one, "rotate its destination's secret")
        secret = new_secret()
        until_us = self._clock.now_us() + ROTATION_S * 1_000_000
        stored = encrypt_secret(self._master_key, one.subscription_id.hex(), secret)
        await self._store.rotate_secret(one.subscription_id, stored, until_us)
        return {
            "webhook": one.subscription_id.hex(),
            "secret": secret,
            "old_secret_until": shown_time(until_us),
        }

    async def test(self, name: str) -> dict[str, Any]:
        """Queue a test message and wait for its attempt; raise NoAttempt if nobody made one."""
        one = await self._find(name)
        return await self._result_of(one, await self._queue_test(one))

    async def queue_test(self, name: str) -> dict[str, Any]:
        """Queue a test message; its attempt tells what came of it."""
        one = await self._find(name)
        if (await self._store.waiting(one.subscription_id)).count >= TESTS_BEHIND_MAX:
            raise NotNow(f"{TESTS_BEHIND_MAX} deliveries wait: a test would wait behind them")
        return {
            "webhook": one.subscription_id.hex(),
            "event_id": await self._queue_test(one),
        }

    async def _queue_test(self, one: Subscription) -> str:
        if one.state != "active":
            raise NotNow(f"the subscription is {one.state}: resume it first")
        run_id, now_us = new_id(self._rng), self._clock.now_us()
        message_id = f"test-{run_id.hex()}"
        delivery = to_queue(
            one,
            render_test(one, event_id=message_id, time=shown_time(now_us)),
            run_id=run_id,
            position=TEST_POSITION,
            key=run_id,
            message_id=message_id,
            event_name=TEST_EVENT,
            now_us=now_us,
        )
        await self._store.put_delivery(delivery)
        return message_id

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
                "given_up": shown_time(letter.dead_us),
                "problem": letter.problem,
                "body": letter.body.decode(errors="replace"),
            }
            for letter in await self._store.dead_letters(one.subscription_id, limit)
        ]

    async def redrive(self, name: str, *, at_most: int | None = None) -> dict[str, Any]:
        """Queue again what was given up, the oldest of it. `left`: what was not."""
        one = await self._find(name)
        total = 0
        while at_most is None or total < at_most:
            room = REDRIVEN_AT_ONCE if at_most is None else min(REDRIVEN_AT_ONCE, at_most - total)
            count = await self._store.redrive(one.subscription_id, self._clock.now_us(), room)
            if not count:
                break
            total += count
        left = await self._store.dead_count(one.subscription_id)
        return {"webhook": one.subscription_id.hex(), "queued": total, "left": left}

    async def replay(
        self, name: str, start: str, *, rate: int, replays_max: int | None = None
    ) -> dict[str, Any]:
        """Send past events again, up to now. `start`: `beginning`, a position or a time."""
        one = await self._find(name)
        running = await self._store.replay_count(one.owner_id)
        if replays_max is not None and running >= replays_max:
            raise NotNow(
                f"{running} replays of the owner's are being queued: wait for one of them, or "
                "resume or remove the webhook that it is for"
            )
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

    async def would_send(
        self, name: str, start: str, *, records_max: int | None = None, s_max: float = 1e9
    ) -> dict[str, Any]:
        """What a replay would send: counts by event, and a few bodies. Nothing is sent.

        Stops after so many records or seconds, and says so: `complete`, and `until` when.
        """
        one = await self._find(name)
        first, end = await self._range(start)
        run = DryRun(one)
        deadline_s = self._clock.monotonic_s() + s_max
        last = None
        async for record in read_database(self._reader, first_position=first):
            if record.position >= end:
                break
            if run.read == records_max or self._clock.monotonic_s() > deadline_s:
                last = record
                break
            run.take(record)
        return {
            "webhook": one.subscription_id.hex(),
            "from": first,
            "to": (end if last is None else last.position) - 1,
            "would_send": sum(run.counts.values()),
            "by_event": run.counts,
            "samples": run.samples,
            "complete": last is None,
            **({} if last is None else {"until": _moment(decode_record(last.payload).stamp)}),
        }

    async def _range(self, start: str) -> tuple[int, int]:
        try:
            return await range_from(self._reader, start)
        except PositionInvalid as error:
            raise Refused(str(error)) from None

    async def _find(self, name: str) -> Subscription:
        """By its id, or the beginning of it if that is one's alone."""
        if len(name) == 2 * ID_SIZE_BYTES and name.isascii() and name.isalnum():
            return await self._by_id(name)
        if len(name) < 4:
            raise NoSuchWebhook("name a subscription by at least 4 digits of its id")
        every = await self._store.subscriptions()
        found = [one for one in every if one.subscription_id.hex().startswith(name.lower())]
        if len(found) != 1:
            raise NoSuchWebhook(f"there is {'more than one' if found else 'no'} webhook {name}")
        return found[0]

    async def _by_id(self, name: str) -> Subscription:
        try:
            found = await self._store.subscription(bytes.fromhex(name))
        except ValueError:
            found = None
        if found is None:
            raise NoSuchWebhook(f"there is no webhook {name}")
        return found

    async def _result_of(self, one: Subscription, message_id: str) -> dict[str, Any]:
        deadline_s = self._clock.monotonic_s() + TEST_WAIT_S
        while self._clock.monotonic_s() < deadline_s:
            for row in await self._store.attempts(one.subscription_id, 50):
                if row.message_id == message_id:
                    return {"webhook": one.subscription_id.hex(), **_attempt(row)}
            await self._clock.sleep(TEST_POLL_S)
        raise NoAttempt(
            f"no attempt within {TEST_WAIT_S:.0f} s: does `python -m fileflux.webhooks` run?"
        )


def shown(one: Subscription) -> dict[str, Any]:
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
        "created": shown_time(one.created_us),
        **({"configuration_id": one.configuration_id} if one.destination_id else {}),
    }


def _refuse_derived(one: Subscription, instead: str) -> None:
    if one.destination_id:
        raise NotNow(f"the notification configuration of {one.bucket} made it: {instead}")


@dataclass
class DryRun:
    """Counts what a subscription would be sent. `read`: records that were looked at."""

    subscription: Subscription
    counts: dict[str, int] = field(default_factory=dict)
    samples: list[str] = field(default_factory=list)
    read: int = 0

    def take(self, record: NumberedRecord) -> None:
        """Look at the next record."""
        self.read += 1
        if record.stream != self.subscription.bucket_id:
            return
        occurrence = told(record)
        if occurrence is None or not wants(self.subscription, occurrence):
            return
        self.counts[occurrence.name] = self.counts.get(occurrence.name, 0) + 1
        if len(self.samples) < SAMPLES:
            self.samples.append(render(self.subscription, occurrence).body.decode())


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "at": shown_time(row.at_us),
        "event_id": row.message_id,
        "status": row.status,
        "latency_ms": round(row.latency_us / 1_000, 1),
        "head": row.head,
        "problem": row.problem,
    }


def shown_time(at_us: int) -> str:
    """Return a time as answers have it: UTC, to the millisecond."""
    return f"{_moment(at_us)[:23]}Z"


def _moment(at_us: int) -> str:
    """Return a time to the microsecond, as stamps are."""
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
