"""ClickHouse's engine inside a process of our own, and its HTTP server."""
