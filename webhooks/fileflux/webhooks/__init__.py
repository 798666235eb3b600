"""Signed deliveries of what happened in a bucket, to whoever subscribed. See webhooks/README.md."""
