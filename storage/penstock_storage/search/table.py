"""All runs of one project as columns, for filters and orders.

Runs get rows in the order in which they are first seen, and keep them. Applying the same update again
changes nothing. Not thread-safe.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from penstock.wire.run_fields import RUN_FIELDS, STORED_FIELDS, FieldShape, names_of
from penstock_common.http.payloads import decode_json, mapping_of, texts_of
from penstock_storage.contracts.interface import RunText
from penstock_storage.metric_rules import HiddenKeys, hidden_keys
from penstock_storage.search.cells import Cells, PathColumn
from penstock_storage.search.paths import FACTS, MAX_DEPTH, Path

__all__ = ["RunTable"]

_MAX_PATHS = 10_000
_MAX_PATH_CHARS = 500
_SPARE_SHAPES = 100
_PATHS = {name: field for name, field in RUN_FIELDS.items() if field.is_path}

I64 = npt.NDArray[np.int64]
Shape = tuple[str, ...]


class RunTable:
    """The runs of one project as of `tick`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all runs, because some were deleted."""
        self.tick = -1
        self.numbers: I64 = np.zeros(0, np.int64)
        """The numbers of the runs, by row."""
        self._rows: dict[int, int] = {}
        self.searched: list[str] = []
        """The searchable text by row, casefolded."""
        self._about: dict[str, PathColumn] = {}
        self._sections = {"config": _Section(), "summary": _Section()}
        self._hidden: dict[int, HiddenKeys] = {}
        """By row, the keys that a few runs exclude from their summary."""
        self._newest: I64 = np.zeros(0, np.int64)
        self._by_number: tuple[I64, I64] = (self._newest, self._newest)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def blocks(self) -> int:
        """The approximate number of memory blocks used."""
        columns = (
            self._about.values(),
            *(each.columns.values() for each in self._sections.values()),
        )
        return sum(column.blocks for some in columns for column in some)

    def apply(self, part: Sequence[RunText]) -> None:
        """Add new and changed runs."""
        if not part:
            return
        # If a run occurs twice, the later one counts.
        found = list({run.number: run for run in part}.values())
        known = len(self)
        places = (self._rows.setdefault(run.number, len(self._rows)) for run in found)
        rows = np.fromiter(places, np.int64)
        new = np.fromiter(islice(self._rows, known, None), np.int64)
        self.numbers = np.append(self.numbers, new)
        self.searched += [""] * (len(self) - known)
        order = np.argsort(rows)
        rows, found = rows[order], [found[place] for place in order.tolist()]
        columns = _columns(found)
        for row, text in zip(rows.tolist(), _searched(columns), strict=True):
            self.searched[row] = text
        for name, field in _PATHS.items():
            put = self._put_set if field.is_optional else self._put
            put(name, rows, columns[name])
        for row, fact in zip(rows.tolist(), columns["info"], strict=True):
            self._note_hidden(row, fact)
        for name in FACTS:
            texts = [fact.get(name) for fact in columns["info"]]
            self._put_set(name, rows, [text if isinstance(text, str) else "" for text in texts])
        for name, section in self._sections.items():
            section.put(rows, columns[name])

    def shows(self, rows: I64, key: str) -> npt.NDArray[np.bool_]:
        """The rows whose runs do not exclude the key from their summary."""
        if not self._hidden:
            return np.ones(len(rows), np.bool_)
        keeping = [row for row, hidden in self._hidden.items() if key in hidden]
        return ~np.isin(rows, keeping)

    def _note_hidden(self, row: int, info: dict[str, Any]) -> None:
        hidden = hidden_keys(info)
        if hidden is not None:
            self._hidden[row] = hidden
        else:
            self._hidden.pop(row, None)

    def cells(self, path: Path) -> Cells:
        """The catalog's cells of a path."""
        if path.section:
            return self._sections[path.section].cells(path.name, len(self))
        column = self._about.get(path.name)
        return Cells.none(len(self)) if column is None else column.cells(len(self))

    def paths(self, section: str) -> list[str]:
        """The paths of config or summary that runs have."""
        return list(self._sections[section].columns)

    def is_full(self, section: str) -> bool:
        """Whether runs have more paths there than are stored."""
        return self._sections[section].is_full

    def rows_of(self, numbers: npt.NDArray[Any]) -> I64:
        """The rows of runs by number, -1 for unknown ones."""
        if not len(self):
            return np.full(len(numbers), -1, np.int64)
        if len(self._by_number[0]) != len(self):
            order = np.argsort(self.numbers)
            self._by_number = (self.numbers[order], order)
        known, rows = self._by_number
        places = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        return np.where(known[places] == numbers, rows[places], -1)

    def newest_first(self) -> I64:
        """All rows by creation time, then by number."""
        if len(self._newest) != len(self):
            created = self.cells(Path("", "created_at")).number
            self._newest = np.lexsort((self.numbers, created))[::-1]
        return self._newest

    def _put_set(self, name: str, rows: I64, values: Sequence[Any]) -> None:
        """Empty means unset: such runs lack the path, as with config."""
        self._put(name, rows, values)
        empty = [row for row, value in zip(rows.tolist(), values, strict=True) if not value]
        if empty:
            self._about[name].clear(np.array(empty, np.int64))

    def _put(self, name: str, rows: I64, values: Sequence[object]) -> None:
        self._about.setdefault(name, PathColumn()).put(rows, values)


class _Section:
    """Config or summary of all runs, with a column per path."""

    def __init__(self) -> None:
        self.columns: dict[str, PathColumn] = {}
        self.is_full = False
        # By row: the last text that was read, and its paths.
        self._digests: list[int | None] = []
        self._shapes: list[Shape] = []
        self._known_shapes: dict[Shape, Shape] = {}

    def cells(self, name: str, count: int) -> Cells:
        column = self.columns.get(name)
        found = Cells.none(count) if column is None else column.cells(count)
        # W&B writes config.lr.value for config.lr, and config.net.value.depth.
        bare_name = f"{name}.".replace(".value.", ".", 1)[:-1]
        bare = self.columns.get(bare_name) if bare_name != name else None
        return found if bare is None else found.over(bare.cells(count))

    def put(self, rows: I64, texts: Sequence[str]) -> None:
        """Parse these rows' JSON objects. Unchanged ones cost nothing."""
        added = int(rows.max(initial=-1)) + 1 - len(self._digests)
        self._digests += [None] * added
        self._shapes += [()] * added
        alike: dict[Shape, tuple[list[int], list[Iterable[object]]]] = {}
        for row, text in zip(rows.tolist(), texts, strict=True):
            digest = hash(text)
            if self._digests[row] == digest:
                continue
            self._digests[row] = digest
            flat = _flattened(mapping_of(_decoded(text)))
            group = alike.setdefault(tuple(flat), ([], []))
            group[0].append(row)
            group[1].append(flat.values())
        for shape, (members, values) in alike.items():
            self._put_alike(self._known_shapes.setdefault(shape, shape), members, values)
        # A run that keeps getting new keys leaves a shape behind each time.
        if len(self._known_shapes) > 2 * len(self._shapes) + _SPARE_SHAPES:
            self._known_shapes = {shape: shape for shape in self._shapes}

    def _put_alike(self, shape: Shape, members: list[int], values: list[Iterable[object]]) -> None:
        """Set rows with the same paths, column by column."""
        rows = np.array(members, np.int64)
        self._clear_lost(shape, members)
        for path, column_values in zip(shape, zip(*values, strict=True), strict=True):
            column = self.columns.get(path)
            if column is None:
                if len(self.columns) >= _MAX_PATHS or len(path) > _MAX_PATH_CHARS:
                    self.is_full = True
                    continue
                column = self.columns[path] = PathColumn()
            column.put(rows, column_values)
        for row in members:
            self._shapes[row] = shape

    def _clear_lost(self, shape: Shape, members: list[int]) -> None:
        """Clear what these rows no longer have."""
        before: dict[Shape, list[int]] = {}
        for row in members:
            old = self._shapes[row]
            if old is not shape:
                before.setdefault(old, []).append(row)
        for old, changed in before.items():
            for path in set(old) - set(shape):
                if path in self.columns:
                    self.columns[path].clear(np.array(changed, np.int64))


def _flattened(found: dict[str, Any]) -> dict[str, Any]:
    """The nested values by dotted path; of equal paths the less nested one."""
    flat, level = dict(found), [("", found)]
    for _ in range(MAX_DEPTH - 1):
        level = [
            (f"{prefix}{key}.", value)
            for prefix, each in level
            if dict in map(type, each.values())
            for key, value in each.items()
            if type(value) is dict
        ]
        if not level:
            break
        for prefix, each in level:
            for key, value in each.items():
                flat.setdefault(prefix + key, value)
    return flat


def _decoded(text: str) -> Any:
    try:
        return decode_json(text)
    except ValueError:  # NaN, Infinity, very large whole numbers, lone surrogates
        return _leniently(text)


def _leniently(text: str) -> Any:
    """None for invalid JSON: one damaged run must not hide all others."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _columns(runs: Sequence[RunText]) -> dict[str, Sequence[Any]]:
    """The runs' fields; lists and info are decoded, config and summary are not, times are in seconds."""
    values = zip(*(run.fields for run in runs), strict=True)
    columns: dict[str, Sequence[Any]] = dict(zip(STORED_FIELDS, values, strict=True))
    for name in names_of(FieldShape.TEXTS):
        columns[name] = [list(texts_of(_decoded(text))) for text in columns[name]]
    for name in names_of(FieldShape.TIME):
        columns[name] = [micros / 1e6 for micros in columns[name]]
    columns["info"] = [mapping_of(_decoded(text)) for text in columns["info"]]
    return columns


def _searched(columns: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """The searchable text of each run."""
    parts: list[Iterable[str]] = []
    for name, field in RUN_FIELDS.items():
        if most := field.searched_chars:
            is_list = field.shape is FieldShape.TEXTS
            texts = map("\n".join, columns[name]) if is_list else columns[name]
            parts.append([text[:most] for text in texts])
    return ("\n".join(texts).casefold() for texts in zip(*parts, strict=True))
