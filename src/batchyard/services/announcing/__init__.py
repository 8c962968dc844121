"""Tells webhooks and the targets of rules what became of jobs and queues: from the durable moves of the engine to durable deliveries."""
