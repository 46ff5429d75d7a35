"""Logged values other than scalars: which keys have them, and the values of a key at a step.

Images, tables and histograms may be many and large, so a reader first gets the steps, and then reads
the values that it shows. Of several lanes at one step the lowest rank's latest counts.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from penstock_storage.charts.attempts import attempt_ends, contested_runs
from penstock_storage.charts.plan import FOREVER
from penstock_storage.charts.series import int_list, read_first_steps, select
from penstock_storage.clickhouse.schema import DATABASE
from penstock_storage.contracts.interface import LaneRow, PointStore

__all__ = ["MediaKey", "MediaValue", "RunMedia", "read_media", "read_media_keys"]

_PLAIN = ("string", "bool", "null", "list", "dict", "number", "alert")
"""Kinds for which a summary is as good as a panel."""

_MAX_JSON_BYTES = 64 * 2**20


class MediaKey(NamedTuple):
    """A key with values other than scalars: their kinds, and the number of runs with such values."""

    key: int
    kinds: list[str]
    runs: int


class MediaValue(NamedTuple):
    """The value at a step; `text` is its JSON."""

    step: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class RunMedia:
    """One key of one run: every step at which it has a value, and some of the values."""

    run: int
    steps: list[int]
    values: list[MediaValue]


async def read_media_keys(
    store: PointStore, keys: Collection[int], runs: Collection[int] | None = None
) -> list[MediaKey]:
    """The keys among these with such values, in all runs or in the given ones."""
    if not keys or (runs is not None and not runs):
        return []
    # A project may have more keys than a statement should name; other keys are dropped here.
    where = f"key BETWEEN {int(min(keys))} AND {int(max(keys))}"
    if runs is not None:
        where += f" AND run IN ({int_list(runs)})"
    columns = await select(
        store,
        "SELECT key, arrayStringConcat(arraySort(groupUniqArray(kind)), '\\n') AS kinds,"
        f" groupBitmap(run) AS runs FROM {DATABASE}.values"
        f" PREWHERE {where} WHERE kind NOT IN ({_texts(_PLAIN)}) GROUP BY key",
    )
    if not columns:
        return []
    wanted = set(keys)
    rows = zip(
        np.asarray(columns["key"]).tolist(),
        columns["kinds"],
        np.asarray(columns["runs"]).tolist(),
        strict=True,
    )
    return [MediaKey(key, kinds.split("\n"), runs) for key, kinds, runs in rows if key in wanted]


async def read_media(
    store: PointStore,
    key: int,
    lanes: Sequence[LaneRow],
    *,
    at: int | None = None,
    most: int = 1,
) -> list[RunMedia]:
    """The values of a key in the runs of these lanes; runs without any are absent.

    At most `most` values of each run, evenly spread over its steps up to and including `at` (default:
    all steps), always with the last one. Values beyond 64 MiB are left out.
    """
    places = await _places(store, key, lanes)
    chosen: list[_Place] = []
    by_run: dict[int, tuple[list[int], list[_Place]]] = {}
    for run, own in places.items():
        some = spread([place for place in own if at is None or place.step <= at], most)
        by_run[run] = [place.step for place in own], some
        chosen += some
    texts = await _read_texts(store, key, chosen)
    return [
        RunMedia(
            run,
            steps,
            [MediaValue(place.step, place.kind, texts[place]) for place in some if place in texts],
        )
        for run, (steps, some) in by_run.items()
    ]


def spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of these, evenly, with the last."""
    if len(items) <= most:
        return list(items)
    picked = np.linspace(len(items) - 1, 0, most, endpoint=most > 1).round().astype(int)
    return [items[index] for index in sorted(set(picked.tolist()))]


class _Place(NamedTuple):
    run: int
    lane: int
    step: int
    kind: str


async def _places(store: PointStore, key: int, lanes: Sequence[LaneRow]) -> dict[int, list[_Place]]:
    """The places of the values that count, in step order, by run."""
    runs = sorted({lane.run for lane in lanes})
    if not runs:
        return {}
    columns = await select(
        store,
        f"SELECT run, lane, step, kind FROM {DATABASE}.values FINAL"
        f" PREWHERE key = {int(key)} AND run IN ({int_list(runs)})"
        f" WHERE kind NOT IN ({_texts(_PLAIN)})",
    )
    if not columns:
        return {}
    ends = {}
    if contested_runs(lanes):
        ends = attempt_ends(lanes, await read_first_steps(store, runs))
    order = sorted(lanes, key=LaneRow.precedence)
    rank = {(lane.run, lane.lane): place for place, lane in enumerate(order)}
    numbers = (np.asarray(columns[name]).tolist() for name in ("run", "lane", "step"))
    rows = [_Place(*row) for row in zip(*numbers, columns["kind"], strict=True)]
    rows.sort(key=lambda row: (row.run, row.step, rank.get(row[:2], len(rank))))
    found: dict[int, list[_Place]] = {}
    for row in rows:
        own = found.setdefault(row.run, [])
        is_cut = row.step >= ends.get(row[:2], FOREVER)
        if not is_cut and (not own or own[-1].step != row.step):
            own.append(row)
    return {run: own for run, own in found.items() if own}


async def _read_texts(store: PointStore, key: int, places: Sequence[_Place]) -> dict[_Place, str]:
    if not places:
        return {}
    triples = ",".join(f"({place.run},{place.lane},{place.step})" for place in places)
    columns = await select(
        store,
        f"SELECT run, lane, step, kind, json FROM {DATABASE}.values FINAL"
        f" PREWHERE key = {int(key)} AND (run, lane, step) IN ({triples})",
    )
    if not columns:
        return {}
    numbers = (np.asarray(columns[name]).tolist() for name in ("run", "lane", "step"))
    found: dict[_Place, str] = {}
    size = 0
    rows = (_Place(*row) for row in zip(*numbers, columns["kind"], strict=True))
    for place, text in zip(rows, columns["json"], strict=True):
        size += len(text)
        if size <= _MAX_JSON_BYTES:
            found[place] = text
    return found


def _texts(texts: Collection[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)
