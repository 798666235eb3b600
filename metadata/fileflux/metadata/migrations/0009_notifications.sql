-- What buckets' notification configurations lead to. The configurations themselves are audited, in
-- `buckets.config`; where they send to is not (ADR 0011).

-- Receivers that a configuration names by ARN. `secret`, `old_secret`: encrypted with the master key,
-- bound to `destination_id`.
CREATE TABLE IF NOT EXISTS webhook_destinations (
    owner_id BYTEA NOT NULL,
    name TEXT NOT NULL,
    destination_id BYTEA NOT NULL,
    url TEXT NOT NULL,
    secret BYTEA NOT NULL,
    old_secret BYTEA,
    old_secret_until_us INT8 NOT NULL,
    created_us INT8 NOT NULL,
    CONSTRAINT webhook_destinations_pkey PRIMARY KEY (owner_id, name)
);

CREATE UNIQUE INDEX IF NOT EXISTS webhook_destinations_by_id ON webhook_destinations (destination_id);

-- Changes of buckets' configurations that were announced in the last minute. `next_position`: the
-- first event that a subscription which one leads to may be told.
CREATE TABLE IF NOT EXISTS webhook_marks (
    bucket_id BYTEA NOT NULL,
    mark_id BYTEA NOT NULL,
    next_position INT8 NOT NULL,
    marked_us INT8 NOT NULL,
    CONSTRAINT webhook_marks_pkey PRIMARY KEY (bucket_id, mark_id)
);

-- Of a subscription that a configuration leads to; empty for one that was made by itself.
ALTER TABLE webhook_subscriptions ADD COLUMN IF NOT EXISTS destination_id BYTEA NOT NULL DEFAULT '';

ALTER TABLE webhook_subscriptions ADD COLUMN IF NOT EXISTS configuration_id TEXT NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS webhook_subscriptions_by_destination
    ON webhook_subscriptions (destination_id);

CREATE INDEX IF NOT EXISTS webhook_subscriptions_by_owner
    ON webhook_subscriptions (owner_id, subscription_id);
