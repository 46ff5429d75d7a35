"""Metric keys and fields of a project's runs, by name."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from penstock_common.http.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = [
    "LIST_FIELDS",
    "LIST_KEYS",
    "LIST_RUN_KEYS",
    "FieldOfRuns",
    "Fields",
    "Key",
    "Keys",
    "NamesQuery",
    "RunKey",
    "RunKeys",
]


class NamesQuery(Asked):
    prefix: str = Field("", max_length=1_000, description="Only names with this prefix.")
    regex: str | None = Field(
        None,
        max_length=500,
        description="Only names that match this pattern somewhere (RE2 syntax).",
    )
    limit: int = Field(10_000, ge=1, le=100_000, description="Maximum number of names to return.")
    after: str | None = Field(None, max_length=1_000, description="`next` of the previous page.")


class KeysQuery(NamesQuery):
    runs: CommaList | None = Field(
        None, description="Only keys with points in these runs. Defaults to all runs."
    )


class FieldsQuery(NamesQuery):
    pass


class Key(Answered):
    key: str
    runs: int = Field(description="Number of runs with points for this key.")


class Keys(Answered):
    keys: list[Key]
    next: str | None = Field(description="`after` for the next page; null on the last page.")


class RunKey(Answered):
    key: str
    first_step: int
    last_step: int
    last: float | int | str = Field(description="The last value logged; NaN and ±Inf are strings.")
    kind: Literal["float", "int"] = Field(description="int: only whole numbers were logged.")


class RunKeys(Answered):
    keys: list[RunKey]
    next: str | None = Field(description="`after` for the next page; null on the last page.")


class FieldOfRuns(Answered):
    path: str = Field(
        description="config.<path> or summary.<key>, as used in filter, order and fields."
    )
    kinds: list[Literal["number", "string", "boolean", "list", "null"]]
    runs: int = Field(
        description="Number of runs that have it; a lower bound if some runs log it and others set it."
    )
    min: float | None = Field(description="Over the finite numbers.")
    max: float | None = Field(description="Over the finite numbers.")
    values: list[str | bool | float | None] = Field(
        description="Up to 20 distinct values, most frequent strings first; numbers only if there are few."
    )


class Fields(Answered):
    fields: list[FieldOfRuns]
    next: str | None = Field(description="`after` for the next page; null on the last page.")


LIST_KEYS = Operation(
    "GET", "/v1/projects/{entity}/{project}/keys", "runs", "List the keys under which runs logged numbers",
    answers={200: Keys}, query=KeysQuery, needs_key=False,
)  # fmt: skip

LIST_RUN_KEYS = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}/keys", "runs", "List a run's keys",
    answers={200: RunKeys}, query=NamesQuery, errors=(400, 401, 404, 410), needs_key=False,
)  # fmt: skip

LIST_FIELDS = Operation(
    "GET", "/v1/projects/{entity}/{project}/fields", "runs",
    "List the fields by which a project's runs can be filtered, sorted and grouped",
    answers={200: Fields}, query=FieldsQuery, needs_key=False,
)  # fmt: skip
