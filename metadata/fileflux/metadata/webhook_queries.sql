-- Every statement about webhooks. Each is one transaction of its own. The dispatcher's writes hold
-- the cursor's row with its turn, so that one that was overtaken changes nothing.

-- webhook_put_subscription --
-- Add a subscription.
INSERT INTO webhook_subscriptions (subscription_id, owner_id, bucket_id, bucket, url, format,
    event_names, prefix, suffix, secret, old_secret, old_secret_until_us, state, reason, is_live,
    next_position, created_us, changed_us)
VALUES ($1::BYTEA, $2::BYTEA, $3::BYTEA, $4::TEXT, $5::TEXT, $6::TEXT, $7::TEXT, $8::BYTEA,
    $9::BYTEA, $10::BYTEA, NULL, 0, 'active', '', false, $11::INT8, $12::INT8,
    (extract(epoch FROM clock_timestamp()) * 1000000)::INT8)
ON CONFLICT (subscription_id) DO NOTHING
RETURNING 1;

-- webhook_subscriptions --
-- Every subscription, by bucket and age.
SELECT * FROM webhook_subscriptions WHERE state <> 'deleted'
ORDER BY bucket_id, created_us, subscription_id;

-- webhook_subscription --
-- One subscription.
SELECT * FROM webhook_subscriptions WHERE subscription_id = $1::BYTEA AND state <> 'deleted';

-- webhook_changes --
-- Which subscriptions changed at a time or after it, removed ones too.
SELECT subscription_id, changed_us FROM webhook_subscriptions WHERE changed_us >= $1::INT8;

-- webhook_changed --
-- Some subscriptions, removed ones too, as they changed.
SELECT * FROM webhook_subscriptions WHERE subscription_id = ANY ($1::BYTEA[]) ORDER BY changed_us;

-- webhook_set_state --
-- Pause, resume, disable or mark as removed.
UPDATE webhook_subscriptions SET state = $2::TEXT, reason = $3::TEXT,
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE subscription_id = $1::BYTEA AND state <> 'deleted'
RETURNING 1;

-- webhook_rotate_secret --
-- Sign with a new secret, and with the one before it for a while.
UPDATE webhook_subscriptions SET
    old_secret = CASE WHEN secret = $2::BYTEA THEN old_secret ELSE secret END,
    secret = $2::BYTEA, old_secret_until_us = $3::INT8,
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE subscription_id = $1::BYTEA AND state <> 'deleted'
RETURNING 1;

-- webhook_touch --
-- Make the dispatcher look at a subscription's queue and replays.
UPDATE webhook_subscriptions
SET changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE subscription_id = $1::BYTEA AND state <> 'deleted'
RETURNING 1;

-- webhook_take_turn --
-- Become the dispatcher: whoever was it changes nothing from now on.
WITH taken AS (
    INSERT INTO webhook_cursors (name, turn, next_position) VALUES ('main', 1, $1::INT8)
    ON CONFLICT (name) DO UPDATE SET turn = webhook_cursors.turn + 1
    RETURNING turn, next_position
)
SELECT turn, next_position FROM taken;

-- webhook_cursor --
-- Where the dispatcher stands.
SELECT turn, next_position FROM webhook_cursors WHERE name = 'main';

-- webhook_queue_live --
-- Move the cursor, and queue what live subscriptions are told of the events that it passed.
WITH moved AS (
    UPDATE webhook_cursors SET next_position = $3::INT8
    WHERE name = 'main' AND turn = $1::INT8 AND next_position = $2::INT8
    RETURNING name
), queued AS (
    INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
        headers, body, attempts, due_us, queued_us)
    SELECT n.subscription_id, n.run_id, n.position, n.lane, n.message_id, n.event_name, n.headers,
        n.body, 0, n.queued_us, n.queued_us
    FROM unnest($4::BYTEA[], $5::BYTEA[], $6::INT8[], $7::BYTEA[], $8::TEXT[], $9::TEXT[],
        $10::TEXT[], $11::BYTEA[], $12::INT8[])
        AS n (subscription_id, run_id, position, lane, message_id, event_name, headers, body,
        queued_us)
    CROSS JOIN moved
    ON CONFLICT (subscription_id, run_id, position) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM moved) AS moved, (SELECT count(*) FROM queued) AS queued;

-- webhook_move_subscriptions --
-- Move subscriptions that do not follow the cursor, and queue what they are told.
WITH guard AS (
    SELECT name FROM webhook_cursors WHERE name = 'main' AND turn = $1::INT8 FOR UPDATE
), moved AS (
    UPDATE webhook_subscriptions AS s SET next_position = m.after, is_live = m.is_live
    FROM unnest($2::BYTEA[], $3::INT8[], $4::INT8[], $5::BOOL[])
        AS m (subscription_id, before, after, is_live)
    WHERE s.subscription_id = m.subscription_id AND s.next_position = m.before
        AND EXISTS (SELECT 1 FROM guard)
    RETURNING s.subscription_id
), queued AS (
    INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
        headers, body, attempts, due_us, queued_us)
    SELECT n.subscription_id, n.run_id, n.position, n.lane, n.message_id, n.event_name, n.headers,
        n.body, 0, n.queued_us, n.queued_us
    FROM unnest($6::BYTEA[], $7::BYTEA[], $8::INT8[], $9::BYTEA[], $10::TEXT[], $11::TEXT[],
        $12::TEXT[], $13::BYTEA[], $14::INT8[])
        AS n (subscription_id, run_id, position, lane, message_id, event_name, headers, body,
        queued_us)
    JOIN moved ON moved.subscription_id = n.subscription_id
    ON CONFLICT (subscription_id, run_id, position) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM guard) AS held, (SELECT count(*) FROM queued) AS queued;

-- webhook_move_replay --
-- Move a replay, and queue what it sends again.
WITH guard AS (
    SELECT name FROM webhook_cursors WHERE name = 'main' AND turn = $1::INT8 FOR UPDATE
), moved AS (
    UPDATE webhook_replays SET next_position = $5::INT8
    WHERE subscription_id = $2::BYTEA AND run_id = $3::BYTEA AND next_position = $4::INT8
        AND EXISTS (SELECT 1 FROM guard)
    RETURNING subscription_id
), queued AS (
    INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
        headers, body, attempts, due_us, queued_us)
    SELECT n.subscription_id, n.run_id, n.position, n.lane, n.message_id, n.event_name, n.headers,
        n.body, 0, n.queued_us, n.queued_us
    FROM unnest($6::BYTEA[], $7::BYTEA[], $8::INT8[], $9::BYTEA[], $10::TEXT[], $11::TEXT[],
        $12::TEXT[], $13::BYTEA[], $14::INT8[])
        AS n (subscription_id, run_id, position, lane, message_id, event_name, headers, body,
        queued_us)
    JOIN moved ON moved.subscription_id = n.subscription_id
    ON CONFLICT (subscription_id, run_id, position) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM guard) AS held, (SELECT count(*) FROM queued) AS queued;

-- webhook_put_replay --
-- Begin a replay.
INSERT INTO webhook_replays (subscription_id, run_id, next_position, end_position, rate)
VALUES ($1::BYTEA, $2::BYTEA, $3::INT8, $4::INT8, $5::INT8)
ON CONFLICT (subscription_id, run_id) DO NOTHING
RETURNING 1;

-- webhook_replays --
-- Replays that are not queued whole yet.
SELECT * FROM webhook_replays ORDER BY subscription_id, run_id;

-- webhook_replay_count --
-- How many replays of an owner's subscriptions are not queued whole yet.
SELECT count(*) AS replays
FROM webhook_subscriptions AS s JOIN webhook_replays AS r ON r.subscription_id = s.subscription_id
WHERE s.owner_id = $1::BYTEA AND s.state <> 'deleted';

-- webhook_end_replay --
-- Forget a replay that is queued whole.
DELETE FROM webhook_replays
WHERE subscription_id = $1::BYTEA AND run_id = $2::BYTEA AND next_position >= end_position
RETURNING 1;

-- webhook_put_delivery --
-- Queue one message beside what the dispatcher queues.
INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
    headers, body, attempts, due_us, queued_us)
VALUES ($1::BYTEA, $2::BYTEA, $3::INT8, $4::BYTEA, $5::TEXT, $6::TEXT, $7::TEXT, $8::BYTEA, 0,
    $9::INT8, $9::INT8)
ON CONFLICT (subscription_id, run_id, position) DO NOTHING
RETURNING 1;

-- webhook_queue_page --
-- The oldest deliveries of a subscription, apart from those of some lanes.
SELECT subscription_id, run_id, position, lane, message_id, event_name, headers, body, attempts,
    due_us, queued_us
FROM webhook_deliveries
WHERE subscription_id = $1::BYTEA AND NOT (run_id || lane = ANY ($2::BYTEA[]))
ORDER BY run_id, position LIMIT $3::INT8;

-- webhook_retry_now --
-- Do not wait for the back-off of a subscription's deliveries.
UPDATE webhook_deliveries SET due_us = $2::INT8
WHERE subscription_id = $1::BYTEA AND due_us > $2::INT8
RETURNING 1;

-- webhook_queue_counts --
-- How many deliveries wait for each subscription.
SELECT subscription_id, count(*) AS waiting, min(queued_us) AS oldest_us
FROM webhook_deliveries GROUP BY subscription_id;

-- webhook_delivered --
-- A delivery was taken: note the attempt, forget the delivery.
WITH taken AS (
    DELETE FROM webhook_deliveries
    WHERE subscription_id = $1::BYTEA AND run_id = $2::BYTEA AND position = $3::INT8
    RETURNING 1
), noted AS (
    INSERT INTO webhook_attempts (subscription_id, at_us, attempt_id, message_id, status,
        latency_us, head, problem)
    VALUES ($1::BYTEA, $4::INT8, $5::BYTEA, $6::TEXT, $7::INT8, $8::INT8, $9::TEXT, $10::TEXT)
    ON CONFLICT (subscription_id, at_us, attempt_id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM taken) + 0 * (SELECT count(*) FROM noted) AS taken;

-- webhook_failed --
-- An attempt failed: note it, and when the next one is due.
WITH put_off AS (
    UPDATE webhook_deliveries SET attempts = $11::INT8, due_us = $12::INT8
    WHERE subscription_id = $1::BYTEA AND run_id = $2::BYTEA AND position = $3::INT8
    RETURNING 1
), noted AS (
    INSERT INTO webhook_attempts (subscription_id, at_us, attempt_id, message_id, status,
        latency_us, head, problem)
    VALUES ($1::BYTEA, $4::INT8, $5::BYTEA, $6::TEXT, $7::INT8, $8::INT8, $9::TEXT, $10::TEXT)
    ON CONFLICT (subscription_id, at_us, attempt_id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM put_off) + 0 * (SELECT count(*) FROM noted) AS put_off;

-- webhook_given_up --
-- The last attempt failed: note it, and set the delivery aside.
WITH taken AS (
    DELETE FROM webhook_deliveries
    WHERE subscription_id = $1::BYTEA AND run_id = $2::BYTEA AND position = $3::INT8
    RETURNING subscription_id, run_id, position, lane, message_id, event_name, headers, body
), dead AS (
    INSERT INTO webhook_dead_letters (subscription_id, run_id, position, lane, message_id,
        event_name, headers, body, attempts, dead_us, problem)
    SELECT t.subscription_id, t.run_id, t.position, t.lane, t.message_id, t.event_name, t.headers,
        t.body, $11::INT8, $4::INT8, $12::TEXT
    FROM taken AS t
    ON CONFLICT (subscription_id, run_id, position) DO UPDATE SET attempts = excluded.attempts,
        dead_us = excluded.dead_us, problem = excluded.problem
    RETURNING 1
), noted AS (
    INSERT INTO webhook_attempts (subscription_id, at_us, attempt_id, message_id, status,
        latency_us, head, problem)
    VALUES ($1::BYTEA, $4::INT8, $5::BYTEA, $6::TEXT, $7::INT8, $8::INT8, $9::TEXT, $10::TEXT)
    ON CONFLICT (subscription_id, at_us, attempt_id) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM dead) + 0 * (SELECT count(*) FROM noted) AS dead;

-- webhook_attempts --
-- The last attempts of a subscription, the newest first.
SELECT * FROM webhook_attempts WHERE subscription_id = $1::BYTEA
ORDER BY at_us DESC, attempt_id DESC LIMIT $2::INT8;

-- webhook_dead_letters --
-- The oldest deliveries of a subscription that were given up.
SELECT * FROM webhook_dead_letters WHERE subscription_id = $1::BYTEA
ORDER BY run_id, position LIMIT $2::INT8;

-- webhook_dead_count --
-- How many deliveries of a subscription were given up.
SELECT count(*) AS dead FROM webhook_dead_letters WHERE subscription_id = $1::BYTEA;

-- webhook_waiting --
-- What waits for a subscription.
SELECT count(*) AS waiting, coalesce(min(queued_us), 0) AS oldest_us, coalesce(max(attempts), 0)
    AS attempts
FROM webhook_deliveries WHERE subscription_id = $1::BYTEA;

-- webhook_redrive --
-- Queue again, as new, what was given up: the oldest of them.
WITH chosen AS (
    SELECT subscription_id, run_id, position FROM webhook_dead_letters
    WHERE subscription_id = $1::BYTEA ORDER BY run_id, position LIMIT $3::INT8
), taken AS (
    DELETE FROM webhook_dead_letters AS d USING chosen AS c
    WHERE c.subscription_id = d.subscription_id AND c.run_id = d.run_id
        AND c.position = d.position
    RETURNING d.subscription_id, d.run_id, d.position, d.lane, d.message_id, d.event_name,
        d.headers, d.body
), queued AS (
    INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
        headers, body, attempts, due_us, queued_us)
    SELECT t.subscription_id, t.run_id, t.position, t.lane, t.message_id, t.event_name, t.headers,
        t.body, 0, $2::INT8, $2::INT8
    FROM taken AS t
    ON CONFLICT (subscription_id, run_id, position) DO NOTHING
    RETURNING 1
)
SELECT count(*) AS queued FROM queued;

-- webhook_forget_attempts --
-- Remove old attempts, the oldest of them: delivered ones sooner than failed ones.
DELETE FROM webhook_attempts AS a USING (
    SELECT subscription_id, at_us, attempt_id FROM webhook_attempts
    WHERE at_us < $1::INT8 AND (at_us < $2::INT8 OR status BETWEEN 200 AND 299)
    ORDER BY at_us LIMIT $3::INT8
) AS o
WHERE a.subscription_id = o.subscription_id AND a.at_us = o.at_us AND a.attempt_id = o.attempt_id
RETURNING 1;

-- webhook_forget_dead --
-- Remove deliveries that were given up before a time, the oldest of them.
DELETE FROM webhook_dead_letters AS a USING (
    SELECT subscription_id, run_id, position FROM webhook_dead_letters
    WHERE dead_us < $1::INT8 ORDER BY dead_us LIMIT $2::INT8
) AS o
WHERE a.subscription_id = o.subscription_id AND a.run_id = o.run_id AND a.position = o.position
RETURNING 1;

-- webhook_remove_attempts --
-- Remove some attempts of a subscription.
DELETE FROM webhook_attempts AS a USING (
    SELECT subscription_id, at_us, attempt_id FROM webhook_attempts
    WHERE subscription_id = $1::BYTEA ORDER BY at_us, attempt_id LIMIT $2::INT8
) AS o
WHERE a.subscription_id = o.subscription_id AND a.at_us = o.at_us AND a.attempt_id = o.attempt_id
RETURNING 1;

-- webhook_remove_deliveries --
-- Remove some deliveries of a subscription.
DELETE FROM webhook_deliveries AS a USING (
    SELECT subscription_id, run_id, position FROM webhook_deliveries
    WHERE subscription_id = $1::BYTEA ORDER BY run_id, position LIMIT $2::INT8
) AS o
WHERE a.subscription_id = o.subscription_id AND a.run_id = o.run_id AND a.position = o.position
RETURNING 1;

-- webhook_remove_dead --
-- Remove some deliveries of a subscription that were given up.
DELETE FROM webhook_dead_letters AS a USING (
    SELECT subscription_id, run_id, position FROM webhook_dead_letters
    WHERE subscription_id = $1::BYTEA ORDER BY run_id, position LIMIT $2::INT8
) AS o
WHERE a.subscription_id = o.subscription_id AND a.run_id = o.run_id AND a.position = o.position
RETURNING 1;

-- webhook_remove --
-- Remove a subscription that is marked as removed, with its replays.
WITH s AS (
    DELETE FROM webhook_subscriptions
    WHERE subscription_id = $1::BYTEA AND state = 'deleted'
    RETURNING subscription_id
), r AS (
    DELETE FROM webhook_replays AS d USING s WHERE d.subscription_id = s.subscription_id
    RETURNING 1
)
SELECT (SELECT count(*) FROM s) + 0 * (SELECT count(*) FROM r) AS removed;

-- webhook_subscriptions_of --
-- A page of an owner's subscriptions, by id; those of one bucket, if that is named.
SELECT * FROM webhook_subscriptions
WHERE owner_id = $1::BYTEA AND subscription_id > $2::BYTEA AND state <> 'deleted'
    AND ($3::BYTEA = ''::BYTEA OR bucket_id = $3::BYTEA)
ORDER BY subscription_id LIMIT $4::INT8;

-- webhook_bucket_count --
-- How many subscriptions a bucket has that were made by themselves.
SELECT count(*) AS subscriptions FROM webhook_subscriptions
WHERE bucket_id = $1::BYTEA AND destination_id = ''::BYTEA AND state <> 'deleted';

-- webhook_put_destination --
-- Add a destination whose name is free.
INSERT INTO webhook_destinations (owner_id, name, destination_id, url, secret, old_secret,
    old_secret_until_us, created_us)
VALUES ($1::BYTEA, $2::TEXT, $3::BYTEA, $4::TEXT, $5::BYTEA, NULL, 0, $6::INT8)
ON CONFLICT (owner_id, name) DO NOTHING
RETURNING 1;

-- webhook_destination --
-- Whose is the destination of that name.
SELECT destination_id FROM webhook_destinations WHERE owner_id = $1::BYTEA AND name = $2::TEXT;

-- webhook_destinations_of --
-- The destinations of some owners, by name.
SELECT * FROM webhook_destinations WHERE owner_id = ANY ($1::BYTEA[]) ORDER BY owner_id, name;

-- webhook_rotate_destination --
-- Give a destination a new secret, and let the one before it sign for a while.
UPDATE webhook_destinations SET
    old_secret = CASE WHEN secret = $3::BYTEA THEN old_secret ELSE secret END,
    secret = $3::BYTEA, old_secret_until_us = $4::INT8
WHERE owner_id = $1::BYTEA AND name = $2::TEXT
RETURNING 1;

-- webhook_spread_secret --
-- Copy a destination's secrets to the subscriptions that lead there.
UPDATE webhook_subscriptions AS s SET secret = d.secret, old_secret = d.old_secret,
    old_secret_until_us = d.old_secret_until_us,
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
FROM webhook_destinations AS d
WHERE d.destination_id = $1::BYTEA AND s.destination_id = $1::BYTEA AND s.state <> 'deleted'
RETURNING 1;

-- webhook_remove_destination --
-- Remove a destination.
DELETE FROM webhook_destinations WHERE destination_id = $1::BYTEA
RETURNING 1;

-- webhook_end_derived --
-- Mark as removed what no configuration asks for any more.
UPDATE webhook_subscriptions SET state = 'deleted', reason = '',
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE subscription_id = ANY ($2::BYTEA[]) AND state <> 'deleted'
    AND EXISTS (SELECT 1 FROM webhook_cursors WHERE name = 'main' AND turn = $1::INT8)
RETURNING 1;

-- webhook_end_orphans --
-- Mark as removed what configurations of buckets led to that are gone.
UPDATE webhook_subscriptions AS s SET state = 'deleted', reason = '',
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE s.destination_id <> ''::BYTEA AND s.state <> 'deleted'
    AND NOT EXISTS (SELECT 1 FROM buckets AS b WHERE b.bucket_id = s.bucket_id)
    AND EXISTS (SELECT 1 FROM webhook_cursors WHERE name = 'main' AND turn = $1::INT8)
RETURNING 1;

-- webhook_end_destination --
-- Mark as removed what leads to a destination.
UPDATE webhook_subscriptions SET state = 'deleted', reason = '',
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE destination_id = $1::BYTEA AND state <> 'deleted'
RETURNING 1;

-- webhook_mark_bucket --
-- Announce a change of a bucket's configuration.
INSERT INTO webhook_marks (bucket_id, mark_id, next_position, marked_us)
VALUES ($1::BYTEA, $2::BYTEA, $3::INT8, (extract(epoch FROM clock_timestamp()) * 1000000)::INT8)
ON CONFLICT (bucket_id, mark_id) DO NOTHING
RETURNING 1;

-- webhook_marked_buckets --
-- A page, by id, of the buckets whose configuration may just have changed.
SELECT m.bucket_id, coalesce(b.name, '') AS name, coalesce(b.owner_id, ''::BYTEA) AS owner_id,
    (b.config -> 'notification')::TEXT AS notification, m.next_position,
    (extract(epoch FROM clock_timestamp()) * 1000000)::INT8 AS read_us
FROM (
    SELECT bucket_id, min(next_position) AS next_position FROM webhook_marks
    WHERE bucket_id > $1::BYTEA GROUP BY bucket_id ORDER BY bucket_id LIMIT $2::INT8
) AS m LEFT JOIN buckets AS b ON b.bucket_id = m.bucket_id
ORDER BY m.bucket_id;

-- webhook_buckets_after --
-- A page of all buckets by id, each with its notification configuration and its first mark.
SELECT b.bucket_id, b.name, b.owner_id, (b.config -> 'notification')::TEXT AS notification,
    (SELECT min(m.next_position) FROM webhook_marks AS m WHERE m.bucket_id = b.bucket_id)
    AS next_position, (extract(epoch FROM clock_timestamp()) * 1000000)::INT8 AS read_us
FROM buckets AS b WHERE b.bucket_id > $1::BYTEA ORDER BY b.bucket_id LIMIT $2::INT8;

-- webhook_unmark --
-- Forget the marks of some buckets that were made at a time or before it.
DELETE FROM webhook_marks WHERE bucket_id = ANY ($1::BYTEA[]) AND marked_us <= $2::INT8
RETURNING 1;

-- webhook_derived --
-- Subscriptions that the configurations of some buckets led to.
SELECT * FROM webhook_subscriptions
WHERE bucket_id = ANY ($1::BYTEA[]) AND destination_id <> ''::BYTEA AND state <> 'deleted';

-- webhook_put_derived --
-- Add a subscription with what its destination has, and queue its test message if there is one.
WITH made AS (
    INSERT INTO webhook_subscriptions (subscription_id, owner_id, bucket_id, bucket, url, format,
        event_names, prefix, suffix, secret, old_secret, old_secret_until_us, state, reason,
        is_live, next_position, created_us, changed_us, destination_id, configuration_id)
    SELECT $3::BYTEA, d.owner_id, $4::BYTEA, $5::TEXT, d.url, $6::TEXT, $7::TEXT, $8::BYTEA,
        $9::BYTEA, d.secret, d.old_secret, d.old_secret_until_us, 'active', '', false, $10::INT8,
        $11::INT8, (extract(epoch FROM clock_timestamp()) * 1000000)::INT8, d.destination_id,
        $12::TEXT
    FROM webhook_destinations AS d
    WHERE d.destination_id = $2::BYTEA
        AND EXISTS (SELECT 1 FROM webhook_cursors WHERE name = 'main' AND turn = $1::INT8)
    FOR UPDATE OF d
    ON CONFLICT (subscription_id) DO NOTHING
    RETURNING subscription_id
), queued AS (
    INSERT INTO webhook_deliveries (subscription_id, run_id, position, lane, message_id, event_name,
        headers, body, attempts, due_us, queued_us)
    SELECT made.subscription_id, n.run_id, n.position, n.lane, n.message_id, n.event_name,
        n.headers, n.body, 0, n.queued_us, n.queued_us
    FROM unnest($13::BYTEA[], $14::INT8[], $15::BYTEA[], $16::TEXT[], $17::TEXT[], $18::TEXT[],
        $19::BYTEA[], $20::INT8[])
        AS n (run_id, position, lane, message_id, event_name, headers, body, queued_us)
    CROSS JOIN made
    ON CONFLICT (subscription_id, run_id, position) DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM made) + 0 * (SELECT count(*) FROM queued) AS made;
