"""Where a plan leaves what was measured, or reaches a limit, and what to do then."""

from __future__ import annotations

from collections.abc import Mapping

from penstock_common.queue.redis_keys import SHARDS
from penstock_server.plan.figures import Figure
from penstock_server.plan.lines import InstallationPlan, number, size
from penstock_server.plan.workload import Workload

__all__ = ["add_warnings"]

_CONNECTIONS = 10_000
_RUNS_PER_PROJECT, _RUNS_PER_ENTITY = 1_000_000, 5_000_000
_KEYS_PER_RUN = 100_000
_SLOW_BATCHES_S = 2.0
_LARGE_REDIS_BYTES = 64e9
_MONTH_DAYS = 30.0


def add_warnings(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    """Add them to the plan."""
    _warn_of_extrapolation(plan, load, known)
    _warn_of_limits(plan, load)
    _warn_of_bounds(plan, load)


def _warn_of_extrapolation(
    plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]
) -> None:
    asked = (
        ("runs at a time", float(load.runs), "most_runs"),
        ("points per second", plan["points per second"], "most_points_per_s"),
        ("batches per second", plan["batches per second"], "most_batches_per_s"),
    )
    for name, value, figure in asked:
        most = known[figure]
        if value > most.value:
            plan.warn(
                f"{number(value)} {name}: extrapolated. The most that was measured is"
                f" {number(most.value)} ({most.machine}, everything on it)."
            )
    if plan["gateways"] + plan["workers"] > 2:
        plan.warn(
            "More than one gateway or worker: that costs per batch and point stay the same with"
            " several was not measured, since the machine has two cores."
        )
    if load.readers > 1:
        plan.warn(
            "Readers: measured with one page that shows a live run; more are multiplied. Readers of"
            " the same charts cost less, since answers are cached."
        )
    if load.replicas > 1:
        plan.warn(
            "Copies of the store: its tables are not replicated yet. The disk for copies is planned all the same."
        )


def _warn_of_limits(plan: InstallationPlan, load: Workload) -> None:
    workers = (plan["worker cores"] + plan["worker cores for readers"]) * load.headroom
    if workers > SHARDS:
        plan.warn(
            f"The load asks for {number(workers)} workers, and there are {SHARDS} shards, so at most"
            f" {SHARDS} workers. Log less often, or split the projects over several installations."
        )
    if (plan["redis cores"] + plan["redis cores for readers"]) * load.headroom > 1:
        plan.warn(
            "One Redis thread is too little. Log larger batches (fewer runs per process, or more keys per"
            " call), or split the projects over several installations."
        )
    if plan["store CPU"] > 32:
        plan.warn(
            f"{number(plan['store CPU'])} cores for one store: points are not spread over several."
            " Split the projects over several installations."
        )
    if plan["Redis memory"] > _LARGE_REDIS_BYTES:
        plan.warn(
            f"{size(plan['Redis memory'])} for Redis: plan a shorter --outage-min. Once the queue is full, gateways"
            " answer 503 and clients keep their data in their spools (2 GiB each), so nothing is lost."
        )
    if plan["seconds between batches"] > _SLOW_BATCHES_S:
        plan.warn(
            f"Clients send every {number(plan['seconds between batches'])} s, since each gateway asks for"
            " less than 1,000 batches a second: points become readable that much later. More gateways"
            " than planned shorten it."
        )
    if load.runs > _CONNECTIONS * plan["gateways"]:
        plan.warn(
            f"If every run has a shipper of its own, there are {number(load.runs)} connections, and"
            f" PENSTOCK_CONNECTIONS allows {number(_CONNECTIONS)} per gateway: raise it, or plan more gateways."
        )


def _warn_of_bounds(plan: InstallationPlan, load: Workload) -> None:
    kept = plan["runs per month"] * load.retention / _MONTH_DAYS
    if load.keys > _KEYS_PER_RUN:
        plan.warn(f"A run may have {_KEYS_PER_RUN:,} keys: raise PENSTOCK_KEYS_PER_RUN.")
    if kept > _RUNS_PER_PROJECT:
        plan.warn(
            f"{number(kept)} runs are kept: a project may have {_RUNS_PER_PROJECT:,}"
            f" (PENSTOCK_RUNS_PER_PROJECT), an entity {_RUNS_PER_ENTITY:,} (PENSTOCK_RUNS_PER_ENTITY)."
        )
