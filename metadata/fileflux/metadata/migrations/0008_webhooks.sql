-- Who is told what, and what is on its way to them. None of it is audited (ADR 0010).

-- `secret`, `old_secret`: encrypted with the master key. `is_live`: follows the dispatcher's cursor;
-- otherwise `next_position` is the first event that was not looked at for it.
CREATE TABLE IF NOT EXISTS webhook_subscriptions (
    subscription_id BYTEA NOT NULL,
    owner_id BYTEA NOT NULL,
    bucket_id BYTEA NOT NULL,
    bucket TEXT NOT NULL,
    url TEXT NOT NULL,
    format TEXT NOT NULL,
    event_names TEXT NOT NULL,
    prefix BYTEA NOT NULL,
    suffix BYTEA NOT NULL,
    secret BYTEA NOT NULL,
    old_secret BYTEA,
    old_secret_until_us INT8 NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    is_live BOOL NOT NULL,
    next_position INT8 NOT NULL,
    created_us INT8 NOT NULL,
    changed_us INT8 NOT NULL,
    CONSTRAINT webhook_subscriptions_pkey PRIMARY KEY (subscription_id)
);

CREATE INDEX IF NOT EXISTS webhook_subscriptions_by_change ON webhook_subscriptions (changed_us);

CREATE INDEX IF NOT EXISTS webhook_subscriptions_by_bucket ON webhook_subscriptions (bucket_id);

-- The dispatcher's one row: everything before `next_position` was queued; `turn` fences the others.
CREATE TABLE IF NOT EXISTS webhook_cursors (
    name TEXT NOT NULL,
    turn INT8 NOT NULL,
    next_position INT8 NOT NULL,
    CONSTRAINT webhook_cursors_pkey PRIMARY KEY (name)
);

-- What was not taken yet. `run_id`: empty for what is sent as it happens, else a replay's or a test's.
CREATE TABLE IF NOT EXISTS webhook_deliveries (
    subscription_id BYTEA NOT NULL,
    run_id BYTEA NOT NULL,
    position INT8 NOT NULL,
    lane BYTEA NOT NULL,
    message_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BYTEA NOT NULL,
    attempts INT8 NOT NULL,
    due_us INT8 NOT NULL,
    queued_us INT8 NOT NULL,
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (subscription_id, run_id, position)
);

-- What was given up, with the last attempt's problem.
CREATE TABLE IF NOT EXISTS webhook_dead_letters (
    subscription_id BYTEA NOT NULL,
    run_id BYTEA NOT NULL,
    position INT8 NOT NULL,
    lane BYTEA NOT NULL,
    message_id TEXT NOT NULL,
    event_name TEXT NOT NULL,
    headers TEXT NOT NULL,
    body BYTEA NOT NULL,
    attempts INT8 NOT NULL,
    dead_us INT8 NOT NULL,
    problem TEXT NOT NULL,
    CONSTRAINT webhook_dead_letters_pkey PRIMARY KEY (subscription_id, run_id, position)
);

CREATE INDEX IF NOT EXISTS webhook_dead_letters_by_age ON webhook_dead_letters (dead_us);

CREATE TABLE IF NOT EXISTS webhook_attempts (
    subscription_id BYTEA NOT NULL,
    at_us INT8 NOT NULL,
    attempt_id BYTEA NOT NULL,
    message_id TEXT NOT NULL,
    status INT8 NOT NULL,
    latency_us INT8 NOT NULL,
    head TEXT NOT NULL,
    problem TEXT NOT NULL,
    CONSTRAINT webhook_attempts_pkey PRIMARY KEY (subscription_id, at_us, attempt_id)
);

CREATE INDEX IF NOT EXISTS webhook_attempts_by_age ON webhook_attempts (at_us);

CREATE TABLE IF NOT EXISTS webhook_replays (
    subscription_id BYTEA NOT NULL,
    run_id BYTEA NOT NULL,
    next_position INT8 NOT NULL,
    end_position INT8 NOT NULL,
    rate INT8 NOT NULL,
    CONSTRAINT webhook_replays_pkey PRIMARY KEY (subscription_id, run_id)
);
