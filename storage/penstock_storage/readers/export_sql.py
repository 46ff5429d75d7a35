"""The statements of an export: a run's points, values and times as one table. Pure.

For a cell, the newest row of the first lane counts. Rows are deduplicated by sorting or aggregation,
not by FINAL, which takes ten times as long where parts overlap, as those of workers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from penstock_storage.charts.series import int_list
from penstock_storage.clickhouse.schema import DATABASE

__all__ = ["ExportSource", "Kind", "Lane", "TableColumn", "long_statement", "wide_statement"]

Kind = Literal["float", "integer", "string", "bool", "json"]
"""Texts of several kinds, and lists and objects, stay JSON."""

_CELLS = "penstock_cells"
"""An alias that no key is likely to have as its name."""

_ALWAYS = ("_step", "_timestamp", "_runtime", "_rank", "_lane")


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A key's column. A key with both numbers and texts has two."""

    key: int
    name: str
    kind: Kind

    @property
    def is_text(self) -> bool:
        return self.kind not in ("float", "integer")


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane that takes part, for steps below `end`."""

    number: int
    rank: int
    end: int


@dataclass(frozen=True, slots=True)
class ExportSource:
    """The rows of a run; `lanes` in the order of precedence."""

    run: int
    lanes: Sequence[Lane]
    origin_us: int
    by_lane: bool


def wide_statement(source: ExportSource, columns: Sequence[TableColumn], lo: int, hi: int) -> str:
    """One row per step (and lane, if by lane), one column per key."""
    numbers = [each for each in columns if not each.is_text]
    texts = [each for each in columns if each.is_text]
    place = _place(source)
    sides = []
    if numbers:
        sides.append(f"({_cells(source, numbers, 'points', 'v', 'numbers', lo, hi)}) AS a")
    if texts:
        sides.append(f"({_cells(source, texts, 'values', 'json', 'texts', lo, hi)}) AS b")
    cells = " FULL JOIN ".join(sides)
    if len(sides) == 2:
        cells += f" USING ({place})"
    arrays = [name for name, kept in (("numbers", numbers), ("texts", texts)) if kept]
    inner = (
        f"SELECT {place}, {', '.join(arrays)}, times.t AS t, times.seen AS seen FROM {cells}"
        f" LEFT JOIN ({_times(source, lo, hi)}) AS times USING ({place})"
    )
    taken = set(_ALWAYS)
    shown = _heads(source)
    for array, kept in (("numbers", numbers), ("texts", texts)):
        for index, column in enumerate(kept, 1):
            value = _shown(f"{_CELLS}.{array}[{index}]", column.kind)
            shown.append(f"{value} AS {_quoted(_unique(column.name, column.is_text, taken))}")
    return f"SELECT {', '.join(shown)} FROM ({inner}) AS {_CELLS} ORDER BY {_order(source)}"


def long_statement(source: ExportSource, columns: Sequence[TableColumn], lo: int, hi: int) -> str:
    """One row per key and step (and lane, if by lane): `value` a number, or `text` JSON."""
    place = _place(source)
    sides = []
    for is_text, table, value, other in (
        (False, "points", "v", "CAST(NULL AS Nullable(String)) AS text"),
        (True, "values", "json", "CAST(NULL AS Nullable(Float64)) AS value"),
    ):
        kept = [each for each in columns if each.is_text is is_text]
        if kept:
            name = "text" if is_text else "value"
            sides.append(
                f"SELECT key, {place}, toNullable({value}) AS {name}, {other}"
                f" FROM {_rows(source, kept, table, lo, hi)}"
                f" ORDER BY key, {place}, {_newest(source)} DESC LIMIT 1 BY key, {place}"
            )
    sides = [f"SELECT key, {place}, value, text FROM ({side})" for side in sides]
    inner = (
        f"SELECT key, {place}, value, text, times.t AS t, times.seen AS seen"
        f" FROM ({' UNION ALL '.join(sides)}) AS rows"
        f" LEFT JOIN ({_times(source, lo, hi)}) AS times USING ({place})"
    )
    names = {each.key: each.name for each in columns}
    key = (
        f"transform({_CELLS}.key, CAST([{int_list(names)}], 'Array(UInt32)'),"
        f" [{','.join(map(_text, names.values()))}], '')"
    )
    shown = [f"{key} AS key", *_heads(source), f"{_CELLS}.value AS value", f"{_CELLS}.text AS text"]
    return (
        f"SELECT {', '.join(shown)} FROM ({inner}) AS {_CELLS}"
        f" ORDER BY {_CELLS}.key, {_order(source)}"
    )


def _cells(
    source: ExportSource,
    columns: Sequence[TableColumn],
    table: str,
    value: str,
    name: str,
    lo: int,
    hi: int,
) -> str:
    """Per row an array with one item for each column, NULL where nothing was logged."""
    index = (
        f"transform(key, CAST([{int_list(each.key for each in columns)}], 'Array(UInt32)'),"
        f" range(toUInt32({len(columns)})), toUInt32({len(columns)}))"
    )
    newest = f"argMaxOrNullResample(0, {len(columns)}, 1)({value}, {_newest(source)}, {index})"
    return (
        f"SELECT {_place(source)}, {newest} AS {name}"
        f" FROM {_rows(source, columns, table, lo, hi)} GROUP BY {_place(source)}"
    )


def _rows(
    source: ExportSource, columns: Sequence[TableColumn], table: str, lo: int, hi: int
) -> str:
    keys = sorted({each.key for each in columns})
    return (
        f"{DATABASE}.{table} PREWHERE key IN ({int_list(keys)}) AND run = {int(source.run)}"
        f" AND step >= {int(lo)} AND step < {int(hi)} WHERE {_counts(source)}"
    )


def _times(source: ExportSource, lo: int, hi: int) -> str:
    return (
        f"SELECT {_place(source)}, argMax(t, {_newest(source)}) AS t, 1 AS seen"
        f" FROM {DATABASE}.times PREWHERE run = {int(source.run)} AND step >= {int(lo)}"
        f" AND step < {int(hi)} WHERE {_counts(source)} GROUP BY {_place(source)}"
    )


def _heads(source: ExportSource) -> list[str]:
    since = f"({_CELLS}.t - {int(source.origin_us)}) / 1e6"
    shown = [
        f"{_CELLS}.step AS _step",
        f"if({_CELLS}.seen = 1, fromUnixTimestamp64Micro({_CELLS}.t, 'UTC'), NULL) AS _timestamp",
        f"if({_CELLS}.seen = 1, {since}, NULL) AS _runtime",
    ]
    if source.by_lane:
        ranks = [lane.rank for lane in source.lanes]
        rank = _of_lane(source, f"{_CELLS}.lane", ranks, "Int64")
        shown += [f"{rank} AS _rank", f"{_CELLS}.lane AS _lane"]
    return shown


def _shown(cell: str, kind: Kind) -> str:
    match kind:
        case "integer":
            return f"toInt64({cell})"
        case "string":
            return f"if(isNull({cell}), NULL, JSONExtractString(assumeNotNull({cell})))"
        case "bool":
            return f"CAST({cell} = 'true' AS Nullable(Bool))"
        case _:
            return cell


def _place(source: ExportSource) -> str:
    return "step, lane" if source.by_lane else "step"


def _order(source: ExportSource) -> str:
    order = f"{_CELLS}.step"
    if source.by_lane:
        places = list(range(len(source.lanes)))
        order += f", {_of_lane(source, f'{_CELLS}.lane', places, 'Int64')}"
    return order


def _newest(source: ExportSource) -> str:
    """SQL: greater for higher precedence; the first lane's newest row is the greatest."""
    if source.by_lane or len(source.lanes) == 1:
        return "seq"
    places = [len(source.lanes) - place for place in range(len(source.lanes))]
    return f"bitOr(bitShiftLeft(toUInt64({_of_lane(source, 'lane', places, 'Int64')}), 32), seq)"


def _counts(source: ExportSource) -> str:
    """SQL: the rows to export."""
    if len(source.lanes) == 1:
        return f"lane = {source.lanes[0].number} AND step < {source.lanes[0].end}"
    return f"step < {_of_lane(source, 'lane', [lane.end for lane in source.lanes], 'Int64')}"


def _of_lane(source: ExportSource, lane: str, found: Sequence[int], type_name: str) -> str:
    """SQL: the item of `found` for a lane; the least number for lanes that are not exported."""
    numbers = int_list(each.number for each in source.lanes)
    return (
        f"transform({lane}, CAST([{numbers}], 'Array(UInt16)'),"
        f" CAST([{int_list(found)}], 'Array({type_name})'), toInt64({-(2**62)}))"
    )


def _unique(name: str, is_text: bool, taken: set[str]) -> str:
    """A unique column name: a key's text column gives way to its number column."""
    if name in taken and is_text:
        name = f"{name}.json"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
