"""Limits of a request, and the refusal of requests that exceed them."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["DEFAULT_LIMITS", "MAX_STEP", "SYSTEM_RANK", "Limits", "bad", "show", "too_large"]

MAX_STEP = 2**53
"""Steps are strictly between -2^53 and 2^53, so that JSON and JavaScript represent them exactly."""

SYSTEM_RANK = 2**30
"""Lanes from this rank on hold a machine's system metrics, by line and not by step; they are not part
of the run's history."""


@dataclass(frozen=True)
class Limits:
    """What one request may contain. Larger requests are refused before memory is allocated for them.

    Every limit is absolute: constant metrics legitimately compress 10,000:1. `decoded_bytes` and
    `elements` apply to a batch and to all batches of a body together. `elements` counts the entries of
    all maps and lists: a few bytes of nested empty maps would otherwise become a hundred times their
    size in Python objects.
    """

    body_bytes: int = 16 * 2**20
    decoded_bytes: int = 64 * 2**20
    window_bytes: int = 8 * 2**20
    batches: int = 1_024
    keys_per_frame: int = 20_000
    frames_per_batch: int = 10_000
    points_per_batch: int = 2_000_000
    records_per_batch: int = 100_000
    elements: int = 1_000_000
    key_bytes: int = 512
    name_bytes: int = 128


DEFAULT_LIMITS = Limits()

# Bounded before it is created: a sender may nest a value very deeply.
_SHOWN = reprlib.Repr()
_SHOWN.maxstring = _SHOWN.maxother = 80


def show(value: object) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = _SHOWN.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def bad(code: ErrorCode, message: str, hint: str | None = None) -> Rejected:
    return Rejected(message, code=code, hint=hint)


def too_large(code: ErrorCode, got: int, allowed: int, what: str) -> Rejected:
    """The refusal (413) of a request that exceeds a limit."""
    return Rejected(f"{got} {what}, at most {allowed} are accepted", code=code)
