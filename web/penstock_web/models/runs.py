"""Runs: filtered, sorted and paged, with their config and summary."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from penstock.wire.run_fields import searched_words
from penstock_common.http.openapi import Operation, model_of
from penstock_common.http.run_models import shown_fields
from penstock_web.models import Answered, Asked, CommaList

__all__ = [
    "GET_RUN",
    "LIST_RUNS",
    "SEARCH_RUNS",
    "Run",
    "RunQuery",
    "Runs",
    "RunsQuery",
    "RunsSearch",
]

_LIMIT = Field(100, ge=1, le=1_000, description="Maximum number of runs to return.")
_OFFSET = Field(
    None, ge=0, lt=2**53, description="Number of runs to skip. Cannot be combined with `after`."
)
_AFTER = Field(None, max_length=8_192, description="`next` of the previous page.")
_SEARCH = Field(
    None,
    max_length=1_000,
    description=f"Only runs whose {searched_words()} contain this text, ignoring case.",
)
_FIELDS = (
    "Return only these paths of config and summary, such as `config.lr,summary.loss`; `none` for"
    " neither. Defaults to all."
)
_ORDER = (
    "Paths to sort by; prefix one with `-` for descending order. Runs without the path come last;"
    " ties are sorted newest first. Defaults to newest first."
)
Path = Annotated[str, Field(max_length=1_000)]


class RunsQuery(Asked):
    filter: str | None = Field(
        None, max_length=65_536, description="A filter as JSON; docs/api.md describes it."
    )
    order: CommaList = Field([], max_length=8, description=_ORDER)
    search: str | None = _SEARCH
    limit: int = _LIMIT
    offset: int | None = _OFFSET
    after: str | None = _AFTER
    fields: CommaList | None = Field(None, max_length=1_000, description=_FIELDS)


class RunsSearch(Asked):
    """The parameters of `GET …/runs` as a body, for queries too long for a URL."""

    filter: dict[str, Any] | None = Field(None, description="docs/api.md describes filters.")
    order: Path | Annotated[list[Path], Field(max_length=8)] = Field([], description=_ORDER)
    search: str | None = _SEARCH
    limit: int = _LIMIT
    offset: int | None = _OFFSET
    after: str | None = _AFTER
    fields: list[Path] | None = Field(None, max_length=1_000, description=_FIELDS)


class Run(model_of(Answered, shown_fields())):  # type: ignore[misc]
    """A run. In config and summary, NaN and ±Inf are the strings NaN, Infinity and -Infinity."""

    last_step: int | None = Field(description="The highest step logged; null if none.")
    not_finite: list[list[str | int]] = Field(
        description="Paths (keys and indexes) in config and summary where a string stands for NaN or ±Inf."
        " The same text elsewhere was logged as text."
    )


class RunQuery(Asked):
    rank: int | None = Field(
        None,
        ge=0,
        lt=2**31,
        description="Return the `last_step` of this rank, not of the whole run.",
    )


class Runs(Answered):
    runs: list[Run]
    total: int = Field(description="Number of runs that match filter and search, over all pages.")
    next: str | None = Field(description="`after` for the next page; null on the last page.")


LIST_RUNS = Operation(
    "GET", "/v1/projects/{entity}/{project}/runs", "runs", "List a project's runs",
    answers={200: Runs}, query=RunsQuery, needs_key=False,
)  # fmt: skip

SEARCH_RUNS = Operation(
    "POST", "/v1/projects/{entity}/{project}/runs/search", "runs",
    "Search a project's runs with a filter of any size",
    answers={200: Runs}, body=RunsSearch, errors=(400, 401, 404, 413), needs_key=False,
)  # fmt: skip

GET_RUN = Operation(
    "GET", "/v1/runs/{entity}/{project}/{run}", "runs", "Get a run",
    answers={200: Run}, query=RunQuery, errors=(400, 401, 404, 410), needs_key=False,
)  # fmt: skip
