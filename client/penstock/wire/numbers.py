"""Numbers that JSON lacks: NaN and the infinities are these strings in every request, reply and stored text."""

from __future__ import annotations

__all__ = ["NOT_FINITE", "not_finite_text"]

NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
"""The numbers by their strings."""


def not_finite_text(value: float) -> str:
    """The string of such a number."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
