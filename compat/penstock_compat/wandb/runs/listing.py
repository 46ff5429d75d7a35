"""A project's runs, filtered, sorted and paged with the same search as the page's."""

from __future__ import annotations

import asyncio
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.filters import parse_api_filter, parse_api_order
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.runs.run import RunNode
from penstock_compat.wandb.values import loads_exact
from penstock_storage.contracts.interface import ProjectRow, RunRef
from penstock_storage.search.filters import Filter
from penstock_storage.search.finder import Question
from penstock_storage.search.ordering import Cursor

__all__ = ["RunsOfProject"]

_FIRST = 50
_MAX_PAGE_SIZE = 1_000
_OLDEST_FIRST = "+created_at"
_MAX_FILTER_CHARS = 2**20
_SHORT_FILTER = 4 * 1024


class RunsOfProject(Node):
    """One run by its id, or the runs that match a filter."""

    context: RequestContext
    row: ProjectRow

    @field
    async def run(self, name: str) -> RunNode | None:
        ref = RunRef(self.row.entity, self.row.project, name)
        row = await self.context.deps.catalog.run(ref)
        return None if row is None else RunNode(self.context, row)

    @field
    async def bucket(self, name: str) -> RunNode | None:
        return await self.run(name)

    @field
    async def run_count(self, filters: str = "") -> int:
        question = Question(filter=await self._filter(filters), limit=0)
        return (await self.context.deps.finder.find(self.row.number, question)).total

    @field
    async def runs(
        self,
        filters: str = "",
        order: str = "",
        first: int = _FIRST,
        after: str = "",
        names: list[str] | None = None,
    ) -> dict[str, Any]:
        """At most `first` runs after the cursor `after`; oldest first unless `order` is given."""
        terms = parse_api_order(order or _OLDEST_FIRST)
        question = Question(
            filter=await self._filter(filters, names),
            order=terms,
            limit=max(1, min(first, _MAX_PAGE_SIZE)),
            after=Cursor.decode(after, terms) if after else None,
            has_cursors=True,
        )
        deps = self.context.deps
        found = await deps.finder.find(self.row.number, question)
        rows = await deps.catalog.run_rows(found.numbers)
        shown = [number for number in found.numbers if number in rows]
        page = RunPage(self.context, [rows[number] for number in shown])
        cursors = dict(zip(found.numbers, found.cursors, strict=True))
        return connection(
            "Run",
            [RunNode(self.context, rows[number], page) for number in shown],
            [cursors[number] for number in shown],
            has_next=found.next is not None,
            totalCount=found.total,
        )

    async def _filter(self, text: str, names: list[str] | None = None) -> Filter | None:
        if len(text) > _MAX_FILTER_CHARS:
            raise Rejected(
                f"filters is longer than {_MAX_FILTER_CHARS} characters", code=ErrorCode.BAD_FILTER
            )
        if len(text) <= _SHORT_FILTER and "$regex" not in text:
            return self._read_filter(text, names)
        return await asyncio.to_thread(self._read_filter, text, names)

    def _read_filter(self, text: str, names: list[str] | None) -> Filter | None:
        try:
            found = loads_exact(text) if text else None
        except (ValueError, RecursionError):
            raise Rejected("filters is not valid JSON", code=ErrorCode.BAD_FILTER) from None
        if names is not None:
            found = {"$and": [{"name": {"$in": names}}, found or {}]}
        return parse_api_filter(found, self.row.entity)
