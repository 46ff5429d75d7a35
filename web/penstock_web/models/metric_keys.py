"""Keys and fields: what a project's runs have, by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = [
    "OPERATIONS", "FieldOfRuns", "Fields", "FieldsQuery", "Key", "Keys", "KeysQuery", "NamesQuery",
    "RunKey", "RunKeys",
]  # fmt: skip


class NamesQuery(Asked):
    prefix: str = Field("", max_length=1_000, description="Only names that begin like this.")
    regex: str | None = Field(
        None, max_length=500, description="Only names with this pattern in them, in RE2's syntax."
    )
    limit: int = Field(10_000, ge=1, le=100_000, description="At most so many in an answer.")
    after: str | None = Field(
        None, max_length=1_000, description="Only names behind this: the `next` of the page before."
    )


class KeysQuery(NamesQuery):
    runs: CommaList | None = Field(
        None, description="Only keys with points in these runs; all runs if not given."
    )


class FieldsQuery(NamesQuery):
    pass


class Key(Answered):
    key: str
    runs: int = Field(description="How many runs have points of it.")


class Keys(Answered):
    keys: list[Key]
    next: str | None = Field(description="`after` of the page that follows; null on the last one.")


class RunKey(Answered):
    key: str
    first_step: int
    last_step: int
    last: float | int | str = Field(description="The value logged last; NaN and ±Inf are strings.")
    kind: Literal["float", "int"] = Field(description="int: nothing but whole numbers was logged.")


class RunKeys(Answered):
    keys: list[RunKey]
    next: str | None = Field(description="`after` of the page that follows; null on the last one.")


class FieldOfRuns(Answered):
    path: str = Field(
        description="config.<path> or summary.<key>; filter, order and fields take it."
    )
    kinds: list[Literal["number", "string", "boolean", "list", "null"]]
    runs: int = Field(
        description="How many runs have it; at least so many where runs log it and others set it."
    )
    min: float | None = Field(description="Of the finite numbers.")
    max: float | None = Field(description="Of the finite numbers.")
    values: list[str | bool | float | None] = Field(
        description="Up to 20 different values, the most frequent texts first; numbers if few."
    )


class Fields(Answered):
    fields: list[FieldOfRuns]
    next: str | None = Field(description="`after` of the page that follows; null on the last one.")


OPERATIONS = [
    Operation(
        "GET", "/v1/projects/{entity}/{project}/keys", "runs", "Keys that runs logged numbers under",
        answers={200: Keys}, query=KeysQuery, needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}/keys", "runs", "Keys of one run",
        answers={200: RunKeys}, query=NamesQuery, errors=(400, 401, 404, 410), needs_key=False,
    ),
    Operation(
        "GET", "/v1/projects/{entity}/{project}/fields", "runs",
        "What a project's runs can be filtered, sorted and grouped by",
        answers={200: Fields}, query=FieldsQuery, needs_key=False,
    ),
]  # fmt: skip
