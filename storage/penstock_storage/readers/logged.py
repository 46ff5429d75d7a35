"""The last values of a project's runs, key by key: for searching runs.

`summaries` answers the same for few runs and all their keys; both pick the same value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from penstock_storage.charts.series import select, without
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import Columns, LaneRow, PointStore

__all__ = [
    "LaneRanks", "LoggedField", "LoggedKey", "RunKeyStats", "read_logged", "read_logged_fields",
    "read_run_keys",
]  # fmt: skip

_SCALARS = "'string', 'bool', 'null'"
_MAX_JSON_BYTES = 4_096
_MAX_LANES = 4_000_000
_MAX_VALUES = 20

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
LanesOf = Callable[[Sequence[int]], Awaitable[list[LaneRow]]]


@dataclass(frozen=True, slots=True)
class LoggedKey:
    """The last values of one key. A run is at most once in `run` and in `text_run`, and in both only if
    it logged the text last."""

    run: U32
    value: F64
    text_run: U32
    text: list[str | bool | None]


@dataclass(frozen=True, slots=True)
class LoggedField:
    """One key over all runs: in how many, and between which finite bounds its last values lie."""

    key: int
    runs: int
    low: float | None
    high: float | None
    values: list[str | bool | None]
    """Some distinct values other than numbers."""


class RunKeyStats(NamedTuple):
    """A key in one run, over all its lanes."""

    first_step: int
    last_step: int
    last: float
    kinds: int
    """Bit 0: a float was logged; bit 1: an integer."""


class LaneRanks:
    """The representative lane of each run: the lowest rank's latest one. Lanes never change, so they are
    read once."""

    def __init__(self, lanes: LanesOf) -> None:
        self._lanes = lanes
        self._known: dict[tuple[int, int], tuple[int, bool, int, int]] = {}

    async def order(self, run: npt.NDArray[np.integer], lane: npt.NDArray[np.integer]) -> I64:
        """An order of these lanes in which each run's representative comes first."""
        pairs = list(zip(run.tolist(), lane.tolist(), strict=True))
        missing = {number for number, own in pairs if (number, own) not in self._known}
        if missing:
            if len(self._known) > _MAX_LANES:
                self._known.clear()
                missing = set(run.tolist())
            for row in await self._lanes(sorted(missing)):
                self._known[row.run, row.lane] = row.precedence()
        last = (2**62, False, 0, 0)
        ranks = np.array([self._known.get(pair, last) for pair in pairs], np.int64).reshape(-1, 4)
        return np.lexsort((*ranks.T[::-1], run))


async def read_logged(store: PointStore, key: int, ranks: LaneRanks) -> LoggedKey:
    """The last values of a key in all runs that logged it."""
    numbers = await _speaking(
        ranks,
        await select(
            store,
            "SELECT run, lane, last_step AS step, tupleElement(last, 2) AS value"
            f" FROM {DATABASE}.series FINAL PREWHERE key = {int(key)}",
        ),
    )
    texts = await _speaking(
        ranks,
        await select(
            store,
            "SELECT run, lane, max(s.step) AS step, argMax(s.json, s.step) AS text FROM"
            f" (SELECT run, lane, step, json FROM {DATABASE}.values FINAL PREWHERE key = {int(key)}"
            f" WHERE kind IN ({_SCALARS}) AND length(json) <= {_MAX_JSON_BYTES}) AS s"
            " GROUP BY run, lane",
        ),
    )
    run, text_run = np.asarray(numbers["run"], np.uint32), np.asarray(texts["run"], np.uint32)
    value, text = np.asarray(numbers["value"], np.float64), np.asarray(texts["text"], object)
    if len(run) and len(text_run):
        # A key with both shows what was logged last.
        place = np.minimum(np.searchsorted(run, text_run), len(run) - 1)
        step = np.asarray(numbers["step"], np.int64)[place]
        newer = (run[place] != text_run) | (np.asarray(texts["step"], np.int64) >= step)
        text_run, text = text_run[newer], text[newer]
    return LoggedKey(run, value, text_run, [_decoded(each) for each in text.tolist()])


async def _speaking(ranks: LaneRanks, columns: Columns) -> Columns:
    """One row per run: that of its representative lane."""
    if not columns:
        empty = np.zeros(0)
        return {"run": empty, "step": empty, "value": empty, "text": []}
    found = {
        name: np.asarray(column, object if name == "text" else None)
        for name, column in columns.items()
    }
    run, lane = found["run"], found["lane"]
    several = np.isin(run, _repeated(run))
    order = np.argsort(run, kind="stable")
    if several.any():
        places = np.flatnonzero(several)
        chosen = places[await ranks.order(run[places], lane[places])]
        order = np.concatenate([np.flatnonzero(~several), chosen])
        order = order[np.argsort(run[order], kind="stable")]
    by_run = run[order]
    first = np.append(True, by_run[1:] != by_run[:-1])
    return {name: column[order[first]] for name, column in found.items()}


def _repeated(run: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    ordered = np.sort(run)
    found: npt.NDArray[np.integer] = ordered[1:][ordered[1:] == ordered[:-1]]
    return found


async def read_logged_fields(
    store: PointStore, keys: Collection[int], gone: Collection[int] = ()
) -> list[LoggedField]:
    """Statistics of these keys over all runs except the deleted runs `gone`; keys without data are
    absent."""
    if not keys:
        return []
    # A project may have more keys than a statement should name; other keys are dropped here.
    within = f"key BETWEEN {int(min(keys))} AND {int(max(keys))}{without(gone)}"
    numbers = await select(
        store,
        "SELECT key, groupBitmap(run) AS runs, minIf(value, isFinite(value)) AS low,"
        " maxIf(value, isFinite(value)) AS high, countIf(isFinite(value)) AS finite FROM"
        " (SELECT key, run, tupleElement(last, 2) AS value"
        f" FROM {DATABASE}.series FINAL WHERE {within}) GROUP BY key",
    )
    texts = await select(
        store,
        "SELECT key, groupBitmap(run) AS runs,"
        f" arrayStringConcat(groupUniqArray({_MAX_VALUES})(json), '\\n') AS texts"
        f" FROM {DATABASE}.values WHERE {within} AND kind IN ({_SCALARS})"
        f" AND length(json) <= {_MAX_JSON_BYTES} GROUP BY key",
    )
    found: dict[int, LoggedField] = {}
    for key, runs, low, high, finite in _tuples(numbers, "key", "runs", "low", "high", "finite"):
        found[key] = LoggedField(key, runs, low if finite else None, high if finite else None, [])
    for key, runs, lines in _tuples(texts, "key", "runs", "texts"):
        known = found.get(key, LoggedField(key, 0, None, None, []))
        values = [_decoded(line) for line in lines.split("\n")]
        found[key] = LoggedField(key, max(known.runs, runs), known.low, known.high, values)
    wanted = set(keys)
    return [field for key, field in found.items() if key in wanted]


async def read_run_keys(store: PointStore, run: int) -> dict[int, RunKeyStats]:
    """The keys with points in a run."""
    columns = await select(
        store,
        "SELECT key, min(s.first_step) AS first, max(s.last_step) AS step,"
        " tupleElement(max(s.last), 2) AS value, groupBitOr(s.kinds) AS kinds"
        f" FROM {DATABASE}.series AS s WHERE run = {int(run)} GROUP BY key",
    )
    rows = _tuples(columns, "key", "first", "step", "value", "kinds")
    return {key: RunKeyStats(*row) for key, *row in rows}


def _tuples(columns: Columns, *names: str) -> list[tuple[Any, ...]]:
    if not columns:
        return []
    return list(zip(*(np.asarray(columns[name], object).tolist() for name in names), strict=True))


def _decoded(text: str) -> str | bool | None:
    """The logged text, boolean or null; anything else as stored."""
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return found if isinstance(found, str | bool | None) else text
