"""Windows of many series as SQL conditions that are short, prune granules and stay exact. Pure.

Windows that are close together form a group: sets of keys and runs and one range of steps, by which the
primary key prunes. If the series of a group have different windows, a lookup by series, evaluated per
row, makes the condition exact. Every value in the text is an integer.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from penstock_storage.charts.plan import Window
from penstock_storage.charts.series import SeriesTable, among, int_list
from penstock_storage.contracts.ids import SeriesId

__all__ = ["conditions"]

_MAX_GROUPS = 8
_MAX_WINDOWS = 2_000
"""Per statement: keeps its text below ClickHouse's max_query_size of 256 KiB."""


@dataclass(slots=True)
class _Group:
    """Windows of different series that are read together. `lo`, `hi`: their common range."""

    windows: list[Window]
    ids: set[SeriesId]
    lo: int
    hi: int

    def join(self, other: _Group) -> None:
        self.windows += other.windows
        self.ids |= other.ids
        self.lo, self.hi = min(self.lo, other.lo), max(self.hi, other.hi)


def conditions(
    windows: Mapping[str, Sequence[Window]], series: SeriesTable, column: str
) -> Iterator[str]:
    """Conditions on (key, run, lane, `column`), one per statement, that select these windows, each with
    its name.

    `series` are all series of the windows' keys and runs. Rows selected by different conditions do not
    overlap.
    """
    texts: list[str] = []
    room = _MAX_WINDOWS
    for prefix, many in windows.items():
        start = 0
        while start < len(many):
            chunk = many[start : start + room]
            groups = _few(_groups(chunk))
            texts += (f"({prefix}{_condition(group, series, column)})" for group in groups)
            start, room = start + len(chunk), room - len(chunk)
            if not room:
                yield " OR ".join(texts)
                texts, room = [], _MAX_WINDOWS
    if texts:
        yield " OR ".join(texts)


def _groups(windows: Iterable[Window]) -> list[_Group]:
    """Groups of overlapping windows; never two of one series in a group."""
    groups: list[_Group] = []
    for window in sorted(windows, key=lambda window: (window.lo, window.hi)):
        series = window.series
        new = _Group([window], {series}, window.lo, window.hi)
        for group in groups:
            if window.lo <= group.hi and series not in group.ids:
                group.join(new)
                break
        else:
            groups.append(new)
    return groups


def _few(groups: list[_Group]) -> list[_Group]:
    """Merge neighbours with the smallest gaps until few groups are left."""
    groups = sorted(groups, key=lambda group: group.lo)
    following = dict(itertools.pairwise(range(len(groups))))
    gaps = [(groups[right].lo - groups[left].hi, left, right) for left, right in following.items()]
    heapq.heapify(gaps)
    left_over = set(range(len(groups)))
    while gaps and len(left_over) > _MAX_GROUPS:
        gap, left, right = heapq.heappop(gaps)
        is_current = following.get(left) == right and groups[right].lo - groups[left].hi == gap
        # Groups only grow: two with a common series never become one.
        if not (is_current and groups[left].ids.isdisjoint(groups[right].ids)):
            continue
        groups[left].join(groups[right])
        left_over.discard(right)
        beyond = following.pop(right, None)
        del following[left]
        if beyond is not None:
            following[left] = beyond
            heapq.heappush(gaps, (groups[beyond].lo - groups[left].hi, left, beyond))
    return [groups[at] for at in sorted(left_over)]


def _condition(group: _Group, series: SeriesTable, column: str) -> str:
    keys, runs = {window.key for window in group.windows}, {window.run for window in group.windows}
    parts = [
        among("key", sorted(keys)),
        among("run", sorted(runs)),
        f"{column} >= {group.lo}",
        f"{column} < {group.hi}",
    ]
    in_reach = sum(
        key in keys and run in runs
        for key, run in zip(series.key.tolist(), series.run.tolist(), strict=True)
    )
    if in_reach != len(group.windows) or len({window[3:] for window in group.windows}) > 1:
        parts += _lookup(group, sorted(keys), column)
    return " AND ".join(parts)


def _lookup(group: _Group, keys: list[int], column: str) -> list[str]:
    """SQL: compare each row with the window of its series; series without a window match nothing."""
    place = {key: at << 48 for at, key in enumerate(keys)}
    series = "bitOr(bitShiftLeft(toUInt64(run), 16), toUInt64(lane))"
    if len(keys) > 1:
        at = f"transform(key, [{int_list(keys)}], {_array(place.values(), 'UInt64')}, toUInt64(0))"
        series = f"bitOr({at}, {series})"
    ids = _array(
        (place[key] | run << 16 | lane for key, run, lane, _, _ in group.windows), "UInt64"
    )
    los = _array((window.lo for window in group.windows), "Int64")
    his = _array((window.hi for window in group.windows), "Int64")
    return [
        f"{column} >= transform({series}, {ids}, {los}, toInt64({group.hi}))",
        f"{column} < transform({series}, {ids}, {his}, toInt64({group.lo}))",
    ]


def _array(numbers: Iterable[int], kind: str) -> str:
    return f"CAST([{int_list(numbers)}] AS Array({kind}))"
