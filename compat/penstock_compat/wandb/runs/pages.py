"""Batches store reads for the runs of one answer: read for all of them when the first one needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from penstock_common.http.payloads import encode_json
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.charts.series import read_first_steps
from penstock_storage.contracts.interface import LaneRow, RunRow
from penstock_storage.metric_rules import hidden_keys
from penstock_storage.readers.key_facts import RunKeyFacts, read_key_facts
from penstock_storage.readers.summaries import Summary, read_summaries

__all__ = ["RunPage"]

_OWN_WRITERS = "wandb-"
_QUEUE_WRITERS = "http-"


class RunPage:
    """Runs of one project."""

    def __init__(self, context: RequestContext, rows: Sequence[RunRow]) -> None:
        self._deps = context.deps
        self._rows: dict[int, RunRow] = {row.number: row for row in rows}
        self._lanes: list[LaneRow] | None = None
        self._names: dict[int, str] | None = None
        self._streams: dict[int, list[LineStream]] | None = None
        self._logged: dict[int, Summary] | None = None
        self._system: dict[int, Summary] | None = None
        self._facts: dict[int, RunKeyFacts] | None = None

    async def names(self) -> dict[int, str]:
        """The project's keys by number."""
        if self._names is None:
            await self._deps.note_read()
            project = next(iter(self._rows.values())).project_number
            keys = await self._deps.names.all_keys(project)
            self._names = {number: name for name, number in keys.items()}
        return self._names

    async def lanes(self, run: int | None = None) -> list[LaneRow]:
        """The lanes of all runs, or of one."""
        if self._lanes is None:
            await self._deps.note_read()
            self._lanes = await self._deps.names.lanes(list(self._rows))
        return [lane for lane in self._lanes if run is None or lane.run == run]

    async def is_native(self, run: int) -> bool:
        """Whether anything other than this protocol's clients logged to the run."""
        others = [
            lane
            for lane in await self.lanes(run)
            if not lane.is_system and not lane.writer.startswith(_OWN_WRITERS)
        ]
        if not all(lane.writer.startswith(_QUEUE_WRITERS) for lane in others):
            return True
        if not others:
            return False
        # Alerts use that path too, but are not logged values.
        logged = await read_first_steps(self._deps.store, [run])
        return any((run, lane.lane) in logged for lane in others)

    async def streams(self, run: int) -> list[LineStream]:
        """The run's line counts, newest generation first."""
        if self._streams is None:
            self._streams = await self._deps.streams.of_runs(list(self._rows))
        return self._streams.get(run, [])

    async def logged(self, run: int) -> dict[str, Any]:
        """The run's last logged values by key."""
        if self._logged is None:
            self._logged = await self._summaries(is_system=False)
        return _values(self._logged.get(run))

    async def system(self, run: int) -> dict[str, Any]:
        """The machine's last system metrics by key."""
        if self._system is None:
            self._system = await self._summaries(is_system=True)
        return _values(self._system.get(run))

    async def summary(self, run: int) -> dict[str, Any]:
        """The explicitly set summary, which this protocol's clients set completely; for other clients'
        runs, on top of the logged values."""
        explicit = self._rows[run].summary
        if not await self.is_native(run):
            return explicit
        hidden = hidden_keys(self._rows[run].info)
        logged = await self.logged(run)
        return {**(hidden.left_out(logged) if hidden else logged), **explicit}

    async def facts(self, run: int) -> RunKeyFacts:
        """Types and ranges of the run's keys."""
        if self._facts is None:
            self._facts = await read_key_facts(
                self._deps.store, await self.lanes(), await self.names()
            )
        return self._facts.get(run, RunKeyFacts())

    async def _summaries(self, *, is_system: bool) -> dict[int, Summary]:
        lanes = await self.lanes()
        if not any(lane.is_system is is_system for lane in lanes):
            return {}
        return await read_summaries(
            self._deps.store,
            sorted({lane.run for lane in lanes}),
            lanes,
            await self.names(),
            is_system=is_system,
        )


def _values(summary: Summary | None) -> dict[str, Any]:
    """As plain Python values; stored JSON texts are inserted into answers without decoding."""
    found: dict[str, Any] = orjson.loads(encode_json(summary.values)) if summary else {}
    return found
