"""A server process: settings, life cycle, logs, watchdog, metrics."""
