"""Rewinds a run: it continues after an earlier step, in a new generation.

Data logged after that step stays stored as an earlier attempt: charts and history show the newest
one, which starts where the rewound run continues.
"""

from __future__ import annotations

import time
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.wire import SYSTEM_RANK, check_name
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.runs.mutations import DEFAULT_PROJECT, own_run
from penstock_compat.wandb.runs.run import RunNode
from penstock_storage.catalog.runs.line_streams import LineStream
from penstock_storage.contracts.interface import RunRef, RunRow
from penstock_storage.readers.last_line import read_last_line

__all__ = ["RewindMutations"]


class RewindMutations(Node):
    """The root field for rewinding runs."""

    context: RequestContext

    @field
    async def rewind_run(
        self,
        input: dict[str, Any],
    ) -> dict[str, Any]:
        """Let a run continue after the step `metricValue`."""
        context = self.context
        if (input.get("metricName") or "_step") != "_step":
            raise Rejected("a run can only be rewound to a _step", code=ErrorCode.BAD_REWIND)
        value = input.get("metricValue")
        if not isinstance(value, int | float) or value != int(value):
            raise Rejected(f"{value!r} is not a step to rewind to", code=ErrorCode.BAD_REWIND)
        ref = RunRef(
            context.entity(input.get("entityName")),
            check_name("project", input.get("projectName") or DEFAULT_PROJECT),
            check_name("run", input.get("runName")),
        )
        row = await own_run(context, ref)
        step = int(value)
        lines, tail = await self._lines(row, step)
        known = await context.deps.streams.of_client(row.number, "")
        start = LineStream(row.number, "", 0, 0, history=lines)
        if known:
            start.events, start.console = known[0].events, known[0].console
            start.events_tail = known[0].events_tail
        start.tail = tail
        now = time.time_ns() // 1000
        await context.deps.streams.begin(row.number, "", now, start=start)
        return {
            "__typename": "RewindRunPayload",
            "rewoundRun": RunNode(context, await own_run(context, ref)),
        }

    async def _lines(self, row: RunRow, step: int) -> tuple[int, dict[str, Any]]:
        """The number of steps logged up to this one, and the last one's values that a client needs."""
        deps = self.context.deps
        found = await deps.catalog.lanes([row.number])
        lanes = [lane.lane for lane in found if lane.rank < SYSTEM_RANK]
        if not lanes:
            return 0, {}
        keys = await deps.catalog.key_numbers(row.project_number, ["_runtime"])
        runtime = keys.get("_runtime", 0)
        last = await read_last_line(deps.store, row.number, lanes, step, runtime)
        if last is None:
            return 0, {}
        tail = {"_step": step, "_timestamp": last.at / 1e6, "_runtime": last.value}
        return last.lines, tail
