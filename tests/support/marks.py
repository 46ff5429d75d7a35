"""Which tests `make test` leaves to the heavy ones. CI runs them all the same: they are a smoke."""

from __future__ import annotations

import pytest

__all__ = ["SMOKE", "first_of"]

SMOKE = [pytest.mark.heavy, pytest.mark.smoke]


def first_of(*values: object) -> list[object]:
    """Parameters that go much the same way: `make test` takes the first, CI all."""
    return [values[0], *(pytest.param(value, marks=SMOKE) for value in values[1:])]
