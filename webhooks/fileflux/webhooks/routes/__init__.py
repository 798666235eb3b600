"""Routes: a bucket's or a tenant's events, sent on to a topic or a queue of their own."""
