"""A run's history and system metrics, as lines or rows: complete, in pages, or sampled.

Lines keep their stored form: integers as integers, NaN and infinities bare, and nested values as
dotted keys (`{"a": {"b": 1}}` is `{"a.b": 1}`), which is how clients request keys. Values other than
numbers are JSON. Rows in JSON answers have NaN and infinities as strings, since JSON lacks them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.runs.summaries import SYSTEM_RUNTIME
from penstock_compat.wandb.values import json_text, loads, loads_map
from penstock_storage.charts.plan import FOREVER
from penstock_storage.contracts.interface import RunRow
from penstock_storage.readers.history import HistoryQuery, origin_us
from penstock_storage.readers.sampling import read_sampled

__all__ = ["HistoryOfRun"]

_SAMPLES = 500
_MAX_SPECS = 100
_MAX_BYTES = 128 * 2**20
_STEP, _TIME, _RUNTIME = "_step", "_timestamp", "_runtime"
_ALWAYS = frozenset({_STEP, _TIME, _RUNTIME})


class HistoryOfRun(Node):
    """A run's history by step."""

    context: RequestContext
    row: RunRow
    page: RunPage

    @field
    async def history(
        self, samples: int = _SAMPLES, min_step: int | None = None, max_step: int | None = None
    ) -> list[str]:
        """Lines with `min_step` <= step < `max_step`, sampled if there are more than `samples`."""
        query = await self._query(min_step, max_step, is_bare=True)
        return await self._lines(query, samples)

    @field
    async def events(self, samples: int = _SAMPLES) -> list[str]:
        """The machine's system metrics, line by line."""
        query = await self._query(None, None, is_bare=True, is_system=True)
        return [json_text(_event(line)) for line in await self._lines(query, samples)]

    @field
    async def sampled_history(self, specs: list[str] | str) -> list[list[dict[str, Any]]]:
        """For each spec, `{"keys", "samples", "minStep", "maxStep"}`, rows that have all of these keys;
        here `maxStep` is inclusive."""
        texts = [specs] if isinstance(specs, str) else specs
        if len(texts) > _MAX_SPECS:
            raise Rejected(f"at most {_MAX_SPECS} specs may be requested", code=ErrorCode.BAD_SPEC)
        return [await self._sampled(loads_map("spec", text)) for text in texts]

    @field
    def parquet_history(self) -> dict[str, Any]:
        """There are no Parquet files: clients read live pages instead."""
        return {"__typename": "ParquetHistory", "parquetUrls": [], "liveData": []}

    async def _sampled(self, spec: dict[str, Any]) -> list[dict[str, Any]]:
        keys = spec.get("keys") or []
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise Rejected("keys must be a list of strings", code=ErrorCode.BAD_SPEC)
        names = list(dict.fromkeys(keys))
        last = _number(spec, "maxStep", None)
        query = await self._query(
            _number(spec, "minStep", None), None if last is None else last + 1, names
        )
        if query is None:
            return []
        lines = await self._lines(query, _number(spec, "samples", _SAMPLES) or 0)
        rows = map(orjson.loads, lines)
        if not names:
            return list(rows)
        return [{name: row[name] for name in names if name in row} for row in rows]

    async def _query(
        self,
        lo: int | None,
        hi: int | None,
        keys: Sequence[str] = (),
        *,
        is_bare: bool = False,
        is_system: bool = False,
    ) -> HistoryQuery | None:
        """None if the project lacks a requested key."""
        names, lanes = await self.page.names(), await self.page.lanes(self.row.number)
        # This protocol's clients log their runtime; for others it is computed.
        computed = set() if await self.page.is_native(self.row.number) else {_RUNTIME}
        wanted = [key for key in keys if key not in _ALWAYS or key in computed]
        numbers = {name: number for number, name in names.items()}
        if not numbers.keys() >= set(wanted):
            return None
        return HistoryQuery(
            run=self.row.number,
            lanes=lanes,
            names=names,
            keys=[numbers[key] for key in wanted],
            lo=-FOREVER if lo is None else max(-FOREVER, lo),
            hi=FOREVER if hi is None else min(FOREVER, hi),
            origin_us=origin_us(self.row, lanes),
            is_system=is_system,
            is_bare=is_bare,
        )

    async def _lines(self, query: HistoryQuery | None, samples: int) -> list[str]:
        if query is None:
            return []
        chunks: list[bytes] = []
        size = 0
        async for chunk in _chunks(self.context, query, samples):
            size += len(chunk)
            if size > _MAX_BYTES:
                raise Rejected(
                    f"these rows take more than {_MAX_BYTES >> 20} MiB",
                    code=ErrorCode.TOO_LARGE,
                    hint="Ask for fewer samples, a smaller page_size, or fewer keys.",
                    status=400,
                )
            chunks.append(chunk)
        return b"".join(chunks).decode().split("\n")[:-1]


def _chunks(context: RequestContext, query: HistoryQuery, samples: int) -> AsyncIterator[bytes]:
    return read_sampled(context.deps.store, query, samples)


def _event(text: str) -> dict[str, Any]:
    line: dict[str, Any] = loads(text)
    line.pop(_STEP, None)
    if SYSTEM_RUNTIME in line:
        line[_RUNTIME] = line.pop(SYSTEM_RUNTIME)
    return line


def _number(spec: dict[str, Any], name: str, otherwise: int | None) -> int | None:
    value = spec.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Rejected(f"{name} must be a number", code=ErrorCode.BAD_SPEC)
    return int(max(-FOREVER, min(FOREVER, value)))
