"""What every server process shares: settings, Redis keys and scripts, auth, metrics, lifecycle, logs."""
