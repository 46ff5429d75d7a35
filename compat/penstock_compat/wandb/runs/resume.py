"""A run's line counts, which a client needs to resume it."""

from __future__ import annotations

from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.values import json_text
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunRow

__all__ = ["LinesOfRun"]


class LinesOfRun(Node):
    """Counts and tails of the newest generation."""

    row: RunRow
    page: RunPage

    @field
    async def history_line_count(self) -> int:
        return (await self._stream()).history

    @field
    async def events_line_count(self) -> int:
        return (await self._stream()).events

    @field
    async def log_line_count(self) -> int:
        return (await self._stream()).console

    @field
    async def history_tail(self) -> str:
        return _tail((await self._stream()).tail)

    @field
    async def events_tail(self) -> str:
        return _tail((await self._stream()).events_tail)

    async def _stream(self) -> LineStream:
        streams = await self.page.streams(self.row.number)
        own = [stream for stream in streams if not stream.client]
        newest = own or streams
        return newest[0] if newest else LineStream(self.row.number, "", 0, 0)


def _tail(line: dict[str, object]) -> str:
    return json_text([json_text(line)] if line else [])
