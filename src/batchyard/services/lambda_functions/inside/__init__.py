"""What runs in a function's own process; nothing of it is imported by the server, and it imports nothing of Batchyard."""
