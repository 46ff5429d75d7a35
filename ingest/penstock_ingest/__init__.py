"""The gateway's write side: HTTP in, Redis out. It checks batches and queues them; it stores nothing."""
