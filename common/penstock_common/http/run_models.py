"""The fields of pydantic models of runs, from the declaration of a run's fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from penstock.wire.field_types import Text, Texts
from penstock.wire.run_fields import PLAIN_FIELDS, RUN_FIELDS, FieldShape

__all__ = ["edited_fields", "given_fields", "shown_fields"]

_SHOWN: dict[FieldShape, Any] = {
    FieldShape.TEXT: str,
    FieldShape.TEXTS: list[str],
    FieldShape.OBJECT: dict[str, Any],
    FieldShape.TIME: float,
}


def shown_fields() -> dict[str, Any]:
    """A run as the API shows it."""
    return {
        name: (_SHOWN[field.shape], Field(description=field.about or None))
        for name, field in RUN_FIELDS.items()
    }


def edited_fields() -> dict[str, Any]:
    """What an edit may set, within bounds."""
    return {name: (_bounded(field.edit) | None, None) for name, field in PLAIN_FIELDS.items()}


def given_fields() -> dict[str, Any]:
    """What may be said of a new run. The catalog leaves out what exceeds a field's bound."""
    return {name: (_SHOWN[field.shape] | None, None) for name, field in PLAIN_FIELDS.items()}


def _bounded(kind: Text | Texts) -> Any:
    if isinstance(kind, Text):
        return Annotated[str, Field(max_length=kind.most)]
    return Annotated[
        list[Annotated[str, Field(max_length=kind.chars)]], Field(max_length=kind.most)
    ]
