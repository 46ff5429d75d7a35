"""Quantiles of the beta distribution to about twelve digits, without other libraries."""

from __future__ import annotations

import math

__all__ = ["beta_quantile"]

_TINY = 1e-300
_TERMS = 500


def beta_quantile(u: float, a: float, b: float) -> float:
    """The x below which Beta(a, b) has the probability `u` (0 to 1)."""
    low, high = 0.0, 1.0
    for _ in range(100):  # bisection: exact to float precision and certain to end
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if _share_below(middle, a, b) < u:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _share_below(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    scale = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):  # where the fraction converges quickly
        return scale * _fraction(x, a, b) / a
    return 1 - scale * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, evaluated forwards."""
    up, down = 1.0, 1 / _away(1 - (a + b) * x / (a + 1))
    value = down
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            up = _away(1 + term / up)
            down = 1 / _away(1 + term * down)
            value *= up * down
        if abs(up * down - 1) < 1e-15:
            break
    return value


def _away(value: float) -> float:
    """Not quite zero, since it is divided by."""
    return value if abs(value) > _TINY else _TINY
