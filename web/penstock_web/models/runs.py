"""Runs: found by filter, order and page; shown with config and summary."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from penstock_common.openapi import Operation
from penstock_web.models import Answered, Asked, CommaList

__all__ = ["OPERATIONS", "Run", "Runs", "RunsQuery", "RunsSearch"]

_LIMIT = Field(100, ge=1, le=1_000, description="At most so many runs in an answer.")
_OFFSET = Field(None, ge=0, lt=2**53, description="Leave out so many runs first; not with `after`.")
_AFTER = Field(None, max_length=8_192, description="The `next` of the page before.")
_SEARCH = Field(
    None,
    max_length=1_000,
    description="Only runs with this text, in any case, in their name, id, group, job type, tags"
    " or notes.",
)
_FIELDS = (
    "Only these paths of config and summary are in the answer, `config.lr,summary.loss`; `none`:"
    " neither config nor summary; not given: all."
)
_ORDER = (
    "Paths to sort by, `-` first for descending. Runs that lack a path come last, ties newest"
    " first. The newest first if not given."
)
Path = Annotated[str, Field(max_length=1_000)]


class RunsQuery(Asked):
    filter: str | None = Field(
        None, max_length=65_536, description="JSON; see docs/api.md for what it may hold."
    )
    order: CommaList = Field([], max_length=8, description=_ORDER)
    search: str | None = _SEARCH
    limit: int = _LIMIT
    offset: int | None = _OFFSET
    after: str | None = _AFTER
    fields: CommaList | None = Field(None, max_length=1_000, description=_FIELDS)


class RunsSearch(Asked):
    """As the query of `GET …/runs`, for what does not fit into an address."""

    filter: dict[str, Any] | None = Field(None, description="See docs/api.md for what it may hold.")
    order: Path | Annotated[list[Path], Field(max_length=8)] = Field([], description=_ORDER)
    search: str | None = _SEARCH
    limit: int = _LIMIT
    offset: int | None = _OFFSET
    after: str | None = _AFTER
    fields: list[Path] | None = Field(None, max_length=1_000, description=_FIELDS)


class Run(Answered):
    """A run. NaN and ±Inf in config and summary are the strings NaN, Infinity, -Infinity."""

    entity: str
    project: str
    run: str = Field(description="Its id, unique in its project.")
    name: str
    state: str = Field(description="running, finished, failed, crashed or preempting")
    group: str
    job_type: str
    tags: list[str]
    notes: str
    config: dict[str, Any]
    summary: dict[str, Any] = Field(
        description="The last logged value of each key, overlaid by what was set explicitly."
    )
    info: dict[str, Any] = Field(description="host, program, python …; define_metric rules.")
    created_at: float = Field(description="Unix seconds.")
    updated_at: float = Field(description="Unix seconds.")
    last_step: int | None = Field(description="The highest step logged; null before the first.")
    not_finite: list[list[str | int]] = Field(
        description="Where in config and summary NaN and ±Inf stand as text: the keys and indexes that"
        " lead there. The same text elsewhere was logged as text."
    )


class Runs(Answered):
    runs: list[Run]
    total: int = Field(description="How many runs pass filter and search, on all pages.")
    next: str | None = Field(description="`after` of the page that follows; null on the last one.")


OPERATIONS = [
    Operation(
        "GET", "/v1/projects/{entity}/{project}/runs", "runs", "Runs of a project, page by page",
        answers={200: Runs}, query=RunsQuery, needs_key=False,
    ),
    Operation(
        "POST", "/v1/projects/{entity}/{project}/runs/search", "runs",
        "Runs of a project, with a filter of any size",
        answers={200: Runs}, body=RunsSearch, errors=(400, 401, 404, 413), needs_key=False,
    ),
    Operation(
        "GET", "/v1/runs/{entity}/{project}/{run}", "runs", "One run",
        answers={200: Run}, errors=(401, 404, 410), needs_key=False,
    ),
]  # fmt: skip
