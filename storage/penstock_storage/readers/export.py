"""Export of a run at full resolution as Parquet or CSV files, written by the store itself.

An export consists of parts: ranges of steps, each a bounded amount of work, counted from the first step
so that a growing run keeps its existing parts. A part is one statement, and its file is complete or
missing. `version` changes with every commit to the run, so a client with all parts of a version need
not ask again.

Wide: one row per step, one column per key. Long: one row per key and step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from penstock_storage.charts.attempts import attempt_ends, contested_runs
from penstock_storage.charts.plan import FOREVER
from penstock_storage.charts.series import int_list, read_first_steps, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import LaneRow, PointStore
from penstock_storage.readers.export_sql import (
    ExportSource,
    Kind,
    Lane,
    TableColumn,
    long_statement,
    wide_statement,
)

__all__ = ["MAX_COLUMNS", "Export", "ExportQuery", "open_export", "read_versions"]

Format = Literal["parquet", "csv"]
Layout = Literal["wide", "long"]

MAX_COLUMNS = 10_000
"""The most keys in a wide table."""

_MAX_CELLS = 4_000_000
_SETTINGS = {
    "max_query_size": str(2**27),
    "max_ast_elements": str(10**7),
    "max_expanded_ast_elements": str(10**7),
    "output_format_parquet_compression_method": "zstd",
    "format_csv_null_representation": "",
    "date_time_output_format": "iso",
}
_INTEGER = 2


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """Rows of one run with `lo` <= step < `hi`.

    `names` are the project's keys by number; `keys` those to export (none: all keys of the run).
    `origin_us` is when the run began. With `by_lane` every lane keeps its rows, including those of
    system metrics; else ranks are merged, each with its latest attempt, without system metrics, and
    the lowest rank's value wins.
    """

    run: int
    lanes: Sequence[LaneRow]
    names: Mapping[int, str]
    keys: Collection[int] = ()
    lo: int = -FOREVER
    hi: int = FOREVER
    origin_us: int = 0
    by_lane: bool = False
    layout: Layout = "wide"

    def own_lanes(self) -> list[LaneRow]:
        """The lanes to export."""
        return [lane for lane in self.lanes if self.by_lane or not lane.is_system]


@dataclass(frozen=True)
class Export:
    """The parts to read, and the columns that all of them have."""

    version: str
    parts: list[tuple[int, int]]
    """Ranges of steps, the end exclusive."""
    columns: list[TableColumn]
    source: ExportSource
    layout: Layout

    def read(
        self, store: PointStore, form: Format, lo: int, hi: int, *, header: bool = True
    ) -> AsyncIterator[bytes]:
        """The file of the rows with `lo` <= step < `hi`."""
        statement = wide_statement if self.layout == "wide" else long_statement
        csv = "CSVWithNames" if header else "CSV"
        sql = f"{statement(self.source, self.columns, lo, hi)} FORMAT {'Parquet' if form == 'parquet' else csv}"
        return store.download(sql, _SETTINGS)


async def open_export(store: PointStore, query: ExportQuery) -> Export:
    """How to export this run as it is now."""
    # The version first: a commit while the rest is read leads to a new version.
    version = (await read_versions(store, [query.run])).get(query.run, "")
    columns, ends = await asyncio.gather(_columns(store, query), _ends(store, query))
    order = sorted(query.own_lanes(), key=LaneRow.precedence)
    lanes = [Lane(lane.lane, lane.rank, ends.get(lane.lane, FOREVER)) for lane in order]
    if query.by_lane:
        lanes.sort(key=lambda lane: (lane.rank, lane.number))
    source = ExportSource(query.run, lanes, query.origin_us, query.by_lane)
    parts = await _parts(store, query, columns) if columns and lanes else []
    return Export(version, parts, columns, source, query.layout)


async def read_versions(store: PointStore, runs: Collection[int]) -> dict[int, str]:
    """The version of each run, which changes with every commit; runs without data are absent."""
    columns = await select(
        store,
        "SELECT run, lower(hex(groupBitXor(sipHash64(writer, low, gaps, dead)))) AS version"
        f" FROM {DATABASE}.applied FINAL WHERE run IN ({int_list(runs)}) GROUP BY run",
    )
    if not columns:
        return {}
    return dict(zip(np.asarray(columns["run"]).tolist(), columns["version"], strict=True))


async def _columns(store: PointStore, query: ExportQuery) -> list[TableColumn]:
    numbers, texts = await asyncio.gather(
        select(
            store,
            f"SELECT key, groupBitOr(s.kinds) AS kinds FROM {DATABASE}.series AS s"
            f" WHERE run = {int(query.run)} AND {_in_lanes(query)} GROUP BY key",
        ),
        select(
            store,
            "SELECT key, min(kind) AS least, max(kind) AS most"
            f" FROM {DATABASE}.values WHERE run = {int(query.run)} AND {_in_lanes(query)}"
            " AND kind != 'alert' GROUP BY key",
        ),
    )
    found: list[TableColumn] = []
    if numbers:
        kinds = dict(
            zip(
                np.asarray(numbers["key"]).tolist(),
                np.asarray(numbers["kinds"]).tolist(),
                strict=True,
            )
        )
        integers = await _integers(store, query, [k for k, v in kinds.items() if v == _INTEGER])
        found += [
            TableColumn(key, _name(query, key), "integer" if key in integers else "float")
            for key in kinds
        ]
    if texts:
        for key, least, most in zip(
            np.asarray(texts["key"]).tolist(), texts["least"], texts["most"], strict=True
        ):
            kind: Kind = least if least == most and least in ("string", "bool") else "json"
            found.append(TableColumn(key, _name(query, key), kind))
    wanted = set(query.keys)
    found = [
        each for each in found if each.key in query.names and (not wanted or each.key in wanted)
    ]
    return sorted(found, key=lambda each: (each.name, each.is_text))


def _in_lanes(query: ExportQuery) -> str:
    if len(own := query.own_lanes()) == len(query.lanes):
        return "1"
    return f"lane IN ({int_list(lane.lane for lane in own)})" if own else "0"


def _name(query: ExportQuery, key: int) -> str:
    return query.names.get(key, "")


async def _integers(store: PointStore, query: ExportQuery, keys: list[int]) -> set[int]:
    """The keys among these whose numbers are all integers of 64 bits."""
    if not keys:
        return set()
    odd = await select(
        store,
        f"SELECT key FROM {DATABASE}.points"
        f" PREWHERE key IN ({int_list(keys)}) AND run = {int(query.run)}"
        " GROUP BY key HAVING max(NOT (abs(v) < 9.2e18 AND v = trunc(v)))",
    )
    return set(keys) - (set(np.asarray(odd["key"]).tolist()) if odd else set())


async def _ends(store: PointStore, query: ExportQuery) -> dict[int, int]:
    """Where each lane ends in the latest attempt."""
    lanes = query.own_lanes()
    if query.by_lane or not contested_runs(lanes):
        return {}
    found = attempt_ends(lanes, await read_first_steps(store, [query.run]))
    return {lane: end for (_, lane), end in found.items()}


async def _parts(
    store: PointStore, query: ExportQuery, columns: Sequence[TableColumn]
) -> list[tuple[int, int]]:
    """The range up to the last step, split after a fixed number of logged steps."""
    where = f"run = {int(query.run)} AND step >= {int(query.lo)} AND step < {int(query.hi)}"
    rows = max(1, _MAX_CELLS // await _cells_per_step(store, query, columns, where))
    steps = f"SELECT step FROM {DATABASE}.times PREWHERE {where}"
    if texts := [each.key for each in columns if each.is_text]:  # values have no row in times
        steps += (
            f" UNION ALL SELECT step FROM {DATABASE}.values"
            f" PREWHERE key IN ({int_list(texts)}) AND {where}"
        )
    found = await select(
        store,
        "SELECT min(s.step) AS start, max(s.step) AS last FROM ("
        f"SELECT step, intDiv(rowNumberInAllBlocks(), {rows}) AS part"
        f" FROM (SELECT step FROM ({steps}) ORDER BY step)"
        ") AS s GROUP BY s.part ORDER BY start SETTINGS max_threads = 1",
    )
    if not found:
        return []
    starts = np.unique(np.asarray(found["start"])).tolist()
    return list(pairwise([query.lo, *starts[1:], int(np.max(found["last"])) + 1]))


async def _cells_per_step(
    store: PointStore, query: ExportQuery, columns: Sequence[TableColumn], where: str
) -> int:
    if query.layout == "wide":
        return len(columns) + 3
    points, steps = await asyncio.gather(
        *(
            select(store, f"SELECT count() AS rows FROM {DATABASE}.{table} PREWHERE {where}")
            for table in ("points", "times")
        )
    )
    return 1 + int(points["rows"][0]) // max(1, int(steps["rows"][0]))
