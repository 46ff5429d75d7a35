"""The kinds of names, and the tables of all of them. A name is declared once, in one of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

__all__ = [
    "Name",
    "Standing",
    "Table",
    "Use",
    "different",
    "ignored",
    "missing",
    "raises",
    "same",
    "unknown",
    "unreadable",
]


class Standing(Enum):
    """What a name of W&B's is in Penstock."""

    SAME = "same"
    DIFFERENT = "different"
    NOT = "not"


class Use(Enum):
    """What using a name does."""

    WORKS = ""
    IGNORED = "warns once, does nothing"
    RAISES = "raises NotSupported"
    UNREADABLE = "raises NotSupported when read"
    MISSING = "ImportError"
    UNKNOWN = "AttributeError"


class Name(NamedTuple):
    """One name. `about`: how it differs, or why it is not there."""

    standing: Standing
    use: Use
    about: str = ""


Table = Mapping[str, Name]


def same(names: str) -> dict[str, Name]:
    """Several names, separated by spaces, that behave as in W&B."""
    return dict.fromkeys(names.split(), Name(Standing.SAME, Use.WORKS))


def different(names: str, how: str) -> dict[str, Name]:
    return dict.fromkeys(names.split(), Name(Standing.DIFFERENT, Use.WORKS, how))


def ignored(names: str, why: str) -> dict[str, Name]:
    """Names that only write or decorate: a script goes on without them."""
    return dict.fromkeys(names.split(), Name(Standing.NOT, Use.IGNORED, why))


def raises(names: str, why: str) -> dict[str, Name]:
    """Names that return data: a stand-in would let a script go on with wrong data."""
    return dict.fromkeys(names.split(), Name(Standing.NOT, Use.RAISES, why))


def missing(names: str, why: str) -> dict[str, Name]:
    """Modules: frameworks fall back to something else."""
    return dict.fromkeys(names.split(), Name(Standing.NOT, Use.MISSING, why))


def unreadable(names: str, why: str) -> dict[str, Name]:
    """Attributes that hold data."""
    return dict.fromkeys(names.split(), Name(Standing.NOT, Use.UNREADABLE, why))


def unknown(names: str, why: str) -> dict[str, Name]:
    """Names of W&B's own parts, which scripts do not use."""
    return dict.fromkeys(names.split(), Name(Standing.NOT, Use.UNKNOWN, why))
