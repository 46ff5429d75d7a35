"""The gateway: HTTP in, Redis out. It checks, it numbers nothing, it stores nothing itself."""
