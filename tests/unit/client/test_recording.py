"""A run's records are checked against the wire's declaration only where they may not fit."""

from __future__ import annotations

from penstock.runs.recording import SHORT_CHARS
from penstock.wire.field_types import Text
from penstock.wire.records import RECORDS


def test_short_text_fits_every_field() -> None:
    bounds = [
        field.type.most
        for fields in RECORDS.values()
        for field in fields.values()
        if isinstance(field.type, Text)
    ]
    assert bounds
    assert min(bounds) >= SHORT_CHARS
