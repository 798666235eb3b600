-- Every statement about routes. Each is one transaction of its own.

-- route_put --
-- Add a route; none if its name is taken.
INSERT INTO routes (route_id, name, owner_id, bucket_id, bucket, prefix, suffix, event_names,
    destination, format, state, next_position, replay_id, replay_until, problem, problem_us,
    created_us, changed_us)
VALUES ($1::BYTEA, $2::TEXT, $3::BYTEA, $4::BYTEA, $5::TEXT, $6::BYTEA, $7::BYTEA, $8::TEXT,
    $9::TEXT, $10::TEXT, 'active', $11::INT8, '', 0, '', 0, $12::INT8, $12::INT8)
ON CONFLICT (name) DO NOTHING
RETURNING 1;

-- route_all --
-- Every route, by name.
SELECT * FROM routes ORDER BY name;

-- route_named --
-- One route.
SELECT * FROM routes WHERE name = $1::TEXT;

-- route_of_id --
-- One route, by what never changes.
SELECT * FROM routes WHERE route_id = $1::BYTEA;

-- route_move --
-- Everything before a position was acknowledged; nothing if it stands elsewhere, or is replayed.
UPDATE routes SET next_position = $4::INT8
WHERE route_id = $1::BYTEA AND next_position = $2::INT8 AND replay_id = $3::BYTEA
RETURNING 1;

-- route_note --
-- Note why a route does not get on, or that it does.
UPDATE routes SET problem = $2::TEXT, problem_us = $3::INT8
WHERE route_id = $1::BYTEA
RETURNING 1;

-- route_set_state --
-- Pause or resume a route; the router looks at it anew.
UPDATE routes SET state = $2::TEXT, problem = '', problem_us = 0,
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE route_id = $1::BYTEA
RETURNING 1;

-- route_replay --
-- Send again from a position on that was sent; nothing if it was not.
UPDATE routes SET next_position = $2::INT8, replay_id = $3::BYTEA,
    replay_until = greatest(replay_until, next_position),
    changed_us = (extract(epoch FROM clock_timestamp()) * 1000000)::INT8
WHERE route_id = $1::BYTEA AND next_position >= $2::INT8
RETURNING 1;

-- route_remove --
-- Forget a route.
DELETE FROM routes WHERE route_id = $1::BYTEA
RETURNING 1;
