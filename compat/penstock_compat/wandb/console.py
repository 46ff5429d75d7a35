"""A run's console output as numbered lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from penstock_compat.wandb.graphql.nodes import Node, connection, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_storage.contracts.interface import RunRow
from penstock_storage.readers.console import ConsoleLine, ConsoleQuery, open_console, read_lines

__all__ = ["ConsoleOfRun"]

_MAX_LINES = 10_000
_LABEL = re.compile(r"\[([^\]\s]{1,100})\] ")


class ConsoleOfRun(Node):
    """A run's console lines. If processes share a run, their lines say which one printed them."""

    context: RequestContext
    row: RunRow

    @field
    async def log_lines(
        self, first: int | None = None, after: str | None = None, last: int | None = None
    ) -> dict[str, Any]:
        """The `first` lines after the cursor `after`, or the `last` ones."""
        deps, number = self.context.deps, self.row.number
        count = last if last is not None else first if first is not None else 1_000
        most = min(max(count, 0), _MAX_LINES)
        lanes = await deps.catalog.lanes([number])
        console = await open_console(deps.store, number, lanes)
        query = ConsoleQuery(
            number,
            after=_place(after),
            ends=console.ends,
            is_last=last is not None,
            limit=most + 1,
        )
        found = await read_lines(deps.store, query)
        has_more = len(found) > most
        page = found[-most:] if last is not None and most else found[:most]
        shared = {lane.lane for lane in lanes if lane.writer.count("-") > 1}
        return connection(
            "LogLine",
            [_node(line, is_shared=line.lane in shared) for line in page],
            [f"{line.line}.{line.lane}" for line in page],
            has_next=has_more and last is None,
        )


def _node(line: ConsoleLine, *, is_shared: bool) -> dict[str, Any]:
    label = _LABEL.match(line.text) if is_shared else None
    return {
        "__typename": "LogLine",
        "number": line.line,
        "timestamp": datetime.fromtimestamp(line.t / 1e6, UTC).isoformat() if line.t else None,
        "level": "error" if line.stream == "stderr" else None,
        "label": label[1] if label else None,
        "line": line.text[label.end() :] if label else line.text,
    }


def _place(cursor: str | None) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d{1,15})\.(\d{1,5})", cursor or "")
    return (int(match[1]), int(match[2])) if match else None
