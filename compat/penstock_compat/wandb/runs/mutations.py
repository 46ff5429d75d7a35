"""Creates and changes runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.ids import new_run_id
from penstock.names import friendly_name
from penstock.wire import check_name
from penstock_common.http.payloads import mapping_of
from penstock_compat.wandb.graphql.nodes import Node, field
from penstock_compat.wandb.ids import decode_id
from penstock_compat.wandb.request_context import RequestContext
from penstock_compat.wandb.run_state import STOP
from penstock_compat.wandb.runs.configs import metric_rules, unwrapped_config
from penstock_compat.wandb.runs.forks import FORKED, branch_point, copy_history
from penstock_compat.wandb.runs.pages import RunPage
from penstock_compat.wandb.runs.run import RunNode
from penstock_compat.wandb.values import json_text, loads_map
from penstock_ingest.creations import ensure_run
from penstock_storage.contracts.interface import RunChange, RunRef, RunRow

__all__ = ["DEFAULT_PROJECT", "RunMutations", "find_run", "own_run", "run_number"]

DEFAULT_PROJECT = "uncategorized"
"""The project of runs whose script sets none."""


_SHARED = "X-Wandb-Use-Async-Filestream"
_STATES = frozenset({"running", "finished", "failed", "crashed", "preempting", "pending"})
# State that a run's owner may set -> the states from which.
_TRANSITIONS = {
    "pending": frozenset({"running", "failed", "crashed", "preempted", "preempting"}),
    "failed": frozenset({"pending", "running"}),
}
# argument of the mutation -> name in the catalog's `info`
_FACTS = {
    "commit": "commit", "host": "host", "jobProgram": "program", "jobRepo": "repository",
    "sweep": "sweep",
}  # fmt: skip


class RunMutations(Node):
    """Root fields for creating and changing runs."""

    context: RequestContext

    @field
    async def upsert_bucket(self, input: dict[str, Any]) -> dict[str, Any]:
        """Create a run, or change the given fields of one; null ones stay.

        A client that starts to log sends its host. If the run already has lines and is not being
        resumed (which would send the run's id), its lines start over: a new generation.
        """
        context = self.context
        ref = await self._ref(input)
        existed = await context.deps.catalog.run(ref)
        begins = input.get("host") is not None
        if begins:
            _refuse_unaddressable(ref)
        if existed is None and not begins and await context.deps.catalog.tombstones_of([ref]):
            # A client that keeps logging to a deleted run must not recreate it.
            raise Rejected(f"run {ref.run} was deleted", code=ErrorCode.DELETED)
        now = time.time_ns() // 1000
        made = await ensure_run(context.deps.catalog, ref)
        given = await self._completed(made, input)
        changes = list(_changes(made, given, begins=begins, is_new=existed is None))
        if changes:
            await context.deps.catalog.apply_changes(changes, now)
        row = await own_run(context, ref)
        if begins:
            await self._fork(row)
            # Only now: a fork's own lines come after the history that it got.
            await self._begin(row, time.time_ns() // 1000, resumes=bool(input.get("id")))
        return {
            "__typename": "UpsertBucketPayload",
            "bucket": RunNode(context, row),
            "inserted": existed is None,
        }

    @field
    async def stop_run(self, input: dict[str, Any]) -> dict[str, Any]:
        """Ask a run's process to stop; the answer to its next lines says so."""
        row = await find_run(self.context, str(input.get("id")))
        await _change(self.context, row.number, "run", {STOP: True})
        return {"__typename": "StopRunPayload", "clientMutationId": None, "success": True}

    @field
    async def update_run_state(self, input: dict[str, Any]) -> dict[str, Any]:
        """Set a run's state to waiting for a restart, or to lost."""
        row = await find_run(self.context, input.get("id") or "")
        state = input.get("state") or ""
        if row.state not in _TRANSITIONS.get(state, ()):
            raise Rejected(
                f"invalid state transition: a run that is {row.state} cannot become {state!r}",
                code=ErrorCode.BAD_STATE,
            )
        await _change(self.context, row.number, "state", {"state": state})
        return {"__typename": "UpdateRunStatePayload", "success": True}

    async def _completed(self, row: RunRow, input: dict[str, Any]) -> dict[str, Any]:
        """The input with a summary without values that only repeat the last logged ones.

        Clients send back the whole summary that they read. Logged values in it would otherwise be
        frozen forever.
        """
        page = RunPage(self.context, [row])
        if input.get("summaryMetrics") is None or not await page.is_native(row.number):
            return input
        logged = await page.logged(row.number)
        summary = {
            key: value
            for key, value in loads_map("summaryMetrics", input["summaryMetrics"]).items()
            if key in row.summary or key not in logged or logged[key] != value
        }
        return {**input, "summaryMetrics": json_text(summary)}

    async def _ref(self, input: dict[str, Any]) -> RunRef:
        if input.get("id") and not input.get("name"):
            row = await find_run(self.context, input["id"])
            return RunRef(row.entity, row.project, row.run)
        return RunRef(
            self.context.entity(input.get("entityName")),
            check_name("project", input.get("modelName") or DEFAULT_PROJECT),
            check_name("run", input.get("name") or new_run_id()),
        )

    async def _fork(self, row: RunRow) -> None:
        """Copy a fork's history, unless it already has it."""
        point = branch_point(mapping_of(row.info.get("wandb")))
        if point is None or FORKED in row.info or point[0] == row.run:
            return
        run, step = point
        await copy_history(self.context, row, run, step)
        await _change(self.context, row.number, "run", {FORKED: {"run": run, "step": step}})

    async def _begin(self, row: RunRow, now: int, *, resumes: bool) -> None:
        is_shared = self.context.headers.get(_SHARED, "").lower() == "true"
        if is_shared:  # each client's stream starts with its first lines
            return
        streams = self.context.deps.streams
        own = await streams.of_client(row.number, "")
        if not own or not (resumes or own[0].is_untouched):
            await streams.begin(row.number, "", now)
        elif resumes:
            await streams.resume(own[0])


def _refuse_unaddressable(ref: RunRef) -> None:
    """Raises `Rejected` for names that a client cannot log to: it puts them unescaped into the file
    stream's URL, where a `%` would lead to another run or to none."""
    if any("%" in name for name in ref):
        raise Rejected(
            f"the wandb client cannot log to {'/'.join(ref)!r}: a name contains '%'",
            code=ErrorCode.BAD_NAME,
            hint="Choose an id and a project without '%'.",
        )


async def own_run(context: RequestContext, ref: RunRef) -> RunRow:
    """A run that must exist. Raises `Rejected`."""
    row = await context.deps.catalog.run(ref)
    if row is None:
        raise Rejected(
            f"could not find run {ref.entity}/{ref.project}/{ref.run}", code=ErrorCode.NOT_FOUND
        )
    return row


def run_number(id: str) -> int:
    """The number in a run's opaque id. Raises `Rejected`."""
    text = decode_id("Run", id)
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise Rejected("could not find this run", code=ErrorCode.NOT_FOUND)
    return int(text)


async def find_run(context: RequestContext, id: str) -> RunRow:
    """The run with this opaque id, for writing. Raises `Rejected`."""
    number = run_number(id)
    row = (await context.deps.catalog.run_rows([number])).get(number)
    if row is None or not context.principal.may_write(row.entity):
        raise Rejected("could not find this run", code=ErrorCode.NOT_FOUND)
    return row


async def _change(context: RequestContext, run: int, kind: str, update: dict[str, Any]) -> None:
    now = time.time_ns() // 1000
    await context.deps.catalog.apply_changes([RunChange.edit(run, kind, update)], now)


def _changes(
    row: RunRow, input: dict[str, Any], *, begins: bool, is_new: bool
) -> Iterator[RunChange]:
    updates: list[tuple[str, dict[str, Any]]] = []
    about = _about(row, input, begins=begins)
    if is_new and not input.get("displayName"):
        about["default_name"] = friendly_name()
    if begins and row.info.get(STOP):
        about[STOP] = False
    if input.get("config") is not None:
        plain, rest = unwrapped_config(loads_map("config", input["config"]))
        known = mapping_of(row.info.get("wandb"))
        if (
            "_wandb" in known and "_wandb" not in rest
        ):  # some clients write back display-only values
            rest["_wandb"] = known["_wandb"]
        updates.append(("config_whole", plain))
        updates += [("define_metric", rule) for rule in metric_rules(rest.get("_wandb") or {})]
        about["wandb"] = rest
    if about:
        updates.append(("run", about))
    if input.get("summaryMetrics") is not None:
        summary = loads_map("summaryMetrics", input["summaryMetrics"])
        updates.append(("summary_whole", summary))
    state = "running" if begins else input.get("state")
    if state in _STATES:
        updates.append(("state", {"state": state}))
    for kind, update in updates:
        yield RunChange.edit(row.number, kind, update)


def _about(row: RunRow, input: dict[str, Any], *, begins: bool) -> dict[str, Any]:
    about: dict[str, Any] = {
        name: input[key] for key, name in _FACTS.items() if input.get(key) is not None
    }
    if input.get("displayName"):
        about["name"] = input["displayName"]
    for key, name in (("groupName", "group"), ("jobType", "job_type")):
        # An empty text removes it; from a client that starts to log it means that there is none.
        if input.get(key) or (input.get(key) == "" and not begins):
            about[name] = input[key]
    # Two names for one field: if a run is written back, the changed one counts.
    notes = [input[key] for key in ("notes", "description") if input.get(key) is not None]
    if notes:
        about["notes"] = next((text for text in notes if text != row.notes), row.notes)
    if input.get("tags") is not None:
        about["tags"] = input["tags"]
    return about
