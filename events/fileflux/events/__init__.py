"""What happened: event types, topics, codec, broker adapter, consume loop."""
