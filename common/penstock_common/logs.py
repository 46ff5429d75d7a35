"""Structured logs: one line per event, its name first, then key=value. Never values, keys or bodies
that a user sent."""

from __future__ import annotations

import logging
import sys

__all__ = ["setup"]


def setup(role: str, level: str = "INFO") -> None:
    """Send this process' logs to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter(
            f"%(asctime)s.%(msecs)03d %(levelname)s {role} %(name)s: %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for talkative in ("aiohttp.access", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
