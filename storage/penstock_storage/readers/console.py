"""Console output of runs: numbered lines, read page by page from either end.

A line's place is (line, lane): consecutive writers of a run continue the count, concurrent ones are
interleaved. Of a line that was rewritten the last version counts, and the output of an earlier attempt
of a rank ends where the later one's lines begin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from penstock_storage.charts.attempts import attempt_ends
from penstock_storage.charts.plan import FOREVER
from penstock_storage.charts.series import select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import LaneRow, PointStore

__all__ = [
    "ConsoleLanes",
    "ConsoleLine",
    "ConsoleQuery",
    "count_lines",
    "open_console",
    "read_lines",
]


class ConsoleLine(NamedTuple):
    """`t`: when it was printed, in µs since 1970; 0 if unknown."""

    line: int
    lane: int
    stream: str
    t: int
    text: str

    @property
    def place(self) -> tuple[int, int]:
        return self.line, self.lane


@dataclass(frozen=True, slots=True)
class ConsoleQuery:
    """Lines of one run: after the place `after`, before the place `before`; of one lane, containing a
    text (case-insensitive), of one stream. `is_last`: the last of them. `ends`: the line before which
    a lane ends, as in `ConsoleLanes`."""

    run: int
    after: tuple[int, int] | None = None
    before: tuple[int, int] | None = None
    lane: int | None = None
    search: str = ""
    stream: str = ""
    ends: Mapping[int, int] = field(default_factory=dict)
    is_last: bool = False
    limit: int = 1_000

    def where(self) -> str:
        conditions = [f"run = {int(self.run)}"]
        if self.lane is not None:
            conditions.append(f"lane = {int(self.lane)}")
        if self.after is not None:
            # The first condition lets the store use its primary key.
            conditions.append(f"line >= {int(self.after[0])}")
            conditions.append(f"(line, lane) > ({int(self.after[0])}, {int(self.after[1])})")
        if self.before is not None:
            conditions.append(f"line <= {int(self.before[0])}")
            conditions.append(f"(line, lane) < ({int(self.before[0])}, {int(self.before[1])})")
        for lane, end in self.ends.items():
            conditions.append(f"NOT (lane = {int(lane)} AND line >= {int(end)})")
        return " AND ".join(conditions)

    def chosen(self) -> str:
        """The condition on lines; texts from users are parameters."""
        conditions = []
        if self.search:
            conditions.append("positionCaseInsensitiveUTF8(text, {search:String}) > 0")
        if self.stream:
            conditions.append("stream = {stream:String}")
        return " WHERE " + " AND ".join(conditions) if conditions else ""

    def params(self) -> dict[str, object]:
        given = {"search": self.search, "stream": self.stream}
        return {name: text for name, text in given.items() if text}


async def read_lines(store: PointStore, query: ConsoleQuery) -> list[ConsoleLine]:
    """At most `limit` lines in their order."""
    order = "line DESC, lane DESC" if query.is_last else "line, lane"
    columns = await store.query(
        f"SELECT line, lane, stream, t, text FROM {DATABASE}.console FINAL"
        f" PREWHERE {query.where()}{query.chosen()} ORDER BY {order} LIMIT {int(query.limit)}",
        query.params(),
    )
    if not columns:
        return []
    line, lane, t = (np.asarray(columns[name]).tolist() for name in ("line", "lane", "t"))
    rows = zip(line, lane, columns["stream"], t, columns["text"], strict=True)
    found = [ConsoleLine(*row) for row in rows]
    return found[::-1] if query.is_last else found


async def count_lines(store: PointStore, query: ConsoleQuery) -> int:
    """How many lines match the query, without its limit."""
    columns = await store.query(
        f"SELECT count() AS lines FROM {DATABASE}.console FINAL"
        f" PREWHERE {query.where()}{query.chosen()}",
        query.params(),
    )
    return int(np.asarray(columns["lines"])[0])


@dataclass(frozen=True, slots=True)
class ConsoleLanes:
    """The lanes with output. `ends`: the line before which a lane ends, if a later attempt took over."""

    lanes: list[LaneRow]
    ends: dict[int, int]


async def open_console(store: PointStore, run: int, lanes: Sequence[LaneRow]) -> ConsoleLanes:
    """The console of a run with these lanes."""
    columns = await select(
        store,
        f"SELECT lane, min(line) AS first FROM {DATABASE}.console WHERE run = {int(run)}"
        " GROUP BY lane",
    )
    if not columns:
        return ConsoleLanes([], {})
    lane, first = np.asarray(columns["lane"]).tolist(), np.asarray(columns["first"]).tolist()
    firsts = {(run, own): line for own, line in zip(lane, first, strict=True)}
    printed = [row for row in lanes if (row.run, row.lane) in firsts]
    ends = {own: end for (_, own), end in attempt_ends(printed, firsts).items()}
    return ConsoleLanes(
        [row for row in printed if ends.get(row.lane, FOREVER) > firsts[run, row.lane]], ends
    )
