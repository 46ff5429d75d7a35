"""Generated run ids."""

from __future__ import annotations

import secrets
import string

__all__ = ["new_run_id"]

_ALPHABET = string.ascii_lowercase + string.digits


def new_run_id() -> str:
    """Eight random characters: 2.8e12 ids, unique within a project for all practical purposes."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(8))
