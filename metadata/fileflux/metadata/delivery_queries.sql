-- What became of one event at the webhooks of its bucket, for people who ask.

-- deliveries_attempted --
-- Attempts to deliver an event, replays of it too, since it happened, the oldest first.
SELECT a.* FROM webhook_subscriptions AS s
JOIN webhook_attempts AS a ON a.subscription_id = s.subscription_id
WHERE s.bucket_id = $1::BYTEA AND a.at_us >= $2::INT8 AND a.message_id = $3::TEXT
ORDER BY a.at_us, a.attempt_id LIMIT $4::INT8;

-- deliveries_waiting --
-- Deliveries of an event that wait for their next attempt.
SELECT d.subscription_id, d.attempts, d.due_us FROM webhook_subscriptions AS s
JOIN webhook_deliveries AS d ON d.subscription_id = s.subscription_id
WHERE s.bucket_id = $1::BYTEA AND d.run_id = $2::BYTEA AND d.position = $3::INT8
ORDER BY d.subscription_id LIMIT $4::INT8;

-- deliveries_given_up --
-- Deliveries of an event that were given up.
SELECT d.subscription_id, d.attempts, d.dead_us FROM webhook_subscriptions AS s
JOIN webhook_dead_letters AS d ON d.subscription_id = s.subscription_id
WHERE s.bucket_id = $1::BYTEA AND d.run_id = $2::BYTEA AND d.position = $3::INT8
ORDER BY d.subscription_id LIMIT $4::INT8;
