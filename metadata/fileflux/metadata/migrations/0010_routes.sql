-- Which events go to which topic or queue of somebody else, and how far. None of it is audited (ADR
-- 0012).

-- `bucket_id`: empty for all buckets of `owner_id`. `next_position`: everything before it was
-- acknowledged by the destination. What lies before `replay_until` is sent again, marked with
-- `replay_id`. `problem`: why it does not get on.
CREATE TABLE IF NOT EXISTS routes (
    route_id BYTEA NOT NULL,
    name TEXT NOT NULL,
    owner_id BYTEA NOT NULL,
    bucket_id BYTEA NOT NULL,
    bucket TEXT NOT NULL,
    prefix BYTEA NOT NULL,
    suffix BYTEA NOT NULL,
    event_names TEXT NOT NULL,
    destination TEXT NOT NULL,
    format TEXT NOT NULL,
    state TEXT NOT NULL,
    next_position INT8 NOT NULL,
    replay_id BYTEA NOT NULL,
    replay_until INT8 NOT NULL,
    problem TEXT NOT NULL,
    problem_us INT8 NOT NULL,
    created_us INT8 NOT NULL,
    changed_us INT8 NOT NULL,
    CONSTRAINT routes_pkey PRIMARY KEY (route_id)
);

CREATE UNIQUE INDEX IF NOT EXISTS routes_by_name ON routes (name);
