"""The steps of a stack, durable: what was begun is ended, whatever is killed in between."""
