"""W&B's `util`, as far as scripts use it."""

from __future__ import annotations

import re

from penstock.ids import new_run_id

__all__ = ["generate_id", "make_artifact_name_safe"]

_MAX_NAME_CHARS = 128


def generate_id(length: int = 8) -> str:
    """A random id of a–z and 0–9, for runs."""
    made = ""
    while len(made) < length:
        made += new_run_id()
    return made[:length]


def make_artifact_name_safe(name: str) -> str:
    """The name with every other character than letters, digits, `-`, `_` and `.` as `_`, at most 128 characters."""
    clean = re.sub(r"[^a-zA-Z0-9_\-.]", "_", name)
    return clean if len(clean) <= _MAX_NAME_CHARS else f"{clean[:63]}..{clean[-63:]}"
