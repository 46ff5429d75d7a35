"""From a workload to a plan: which processes, how much memory, disk and network, each with its arithmetic.

The model is linear: a role's CPU is what it takes at rest, plus a cost per batch and a cost per point. Both were measured;
see `figures`. Clients send less often when a gateway is busy, which `penstock_ingest.pace` decides.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping

from penstock_common.queue.redis_keys import SHARDS
from penstock_server.plan.figures import Figure, figures
from penstock_server.plan.lines import InstallationPlan, number
from penstock_server.plan.storing import add_disk, add_network, add_queue
from penstock_server.plan.warnings import add_warnings
from penstock_server.plan.workload import Workload

__all__ = ["ROLES", "plan_for"]

ROLES = ("gateway", "worker", "store", "redis")
_ANSWERS = ("gateway", "store")
INTERVAL_S = {"watched": 0.3, "unwatched": 1.0}
"""How long clients collect rows: while somebody reads, and while nobody does."""
BATCHES_PER_GATEWAY = 1_000.0
"""Batches per second in one gateway process above which it asks clients to send less often."""
_MAX_INTERVAL_S = 10.0
_MIB = 2**20
_MAX_GATEWAYS = 2**40


def plan_for(load: Workload, measured: Mapping[str, Figure] | None = None) -> InstallationPlan:
    """The plan for this load, from these figures or the ones that were measured last."""
    known = figures() if measured is None else measured
    plan = InstallationPlan()
    gateways = _gateways(load, known)
    _add_load(plan, load, gateways)
    _add_cores(plan, load, known)
    _add_processes(plan, load, gateways)
    _add_memory(plan, load, known)
    add_queue(plan, load, known)
    add_disk(plan, load, known)
    add_network(plan, load, known)
    _add_totals(plan)
    add_warnings(plan, load, known)
    return plan


def _interval_s(load: Workload, gateways: int) -> float:
    """How long clients collect rows for a batch, with this many gateways.

    A gateway that gets r batches per second asks for r / 1,000 seconds; n runs send n / interval batches.
    """
    least = INTERVAL_S["watched" if load.readers else "unwatched"]
    asked = math.sqrt(load.runs / gateways / BATCHES_PER_GATEWAY)
    return min(_MAX_INTERVAL_S, max(least, asked))


def _batches_per_s(load: Workload, interval_s: float) -> float:
    return load.runs * min(load.hz, 1 / interval_s)


def _gateways(load: Workload, known: Mapping[str, Figure]) -> int:
    """The fewest gateway processes, a core each, that have room for the load.

    Each further one slows clients down less, which adds batches, but fewer than it has room for.
    """

    def is_enough(gateways: int) -> bool:
        return _gateway_cores(load, gateways, known) * load.headroom <= gateways

    return load.replicas + bisect_left(range(load.replicas, _MAX_GATEWAYS), True, key=is_enough)


def _gateway_cores(load: Workload, gateways: int, known: Mapping[str, Figure]) -> float:
    batches = _batches_per_s(load, _interval_s(load, gateways))
    return _ingest_cores("gateway", batches, load.points_per_s, known)


def _ingest_cores(role: str, batches: float, points: float, known: Mapping[str, Figure]) -> float:
    at_rest, per_batch, per_point = _costs(role, known)
    return at_rest + (batches * per_batch + points * per_point) / 1e6


def _costs(role: str, known: Mapping[str, Figure]) -> tuple[float, float, float]:
    """(cores at rest, µs per batch, µs per point)"""
    names = (f"{role}_cores_at_rest", f"{role}_us_per_batch", f"{role}_us_per_point")
    at_rest, per_batch, per_point = (known[name].value for name in names)
    return at_rest, per_batch, per_point


def _add_load(plan: InstallationPlan, load: Workload, gateways: int) -> None:
    n = number
    points = plan.add(
        "load", "points per second", load.points_per_s, "points/s",
        f"{n(load.runs)} runs x {n(load.keys)} keys x {n(load.hz)} Hz",
    )  # fmt: skip
    interval = _interval_s(load, gateways)
    base = INTERVAL_S["watched" if load.readers else "unwatched"]
    plan.add(
        "load", "seconds between batches", interval, "s",
        f"at least {n(base)} s; √({n(load.runs)} runs / {gateways} gateways /"
        f" {n(BATCHES_PER_GATEWAY)} batches/s)",
    )  # fmt: skip
    batches = plan.add(
        "load", "batches per second", _batches_per_s(load, interval), "batches/s",
        f"{n(load.runs)} runs x the lesser of {n(load.hz)} Hz and 1 / {n(interval)} s",
    )  # fmt: skip
    plan.add(
        "load", "points per batch", points / batches, "points",
        f"{n(points)} points/s / {n(batches)} batches/s",
    )  # fmt: skip


def _add_cores(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    batches, points, n = plan["batches per second"], plan["points per second"], number
    for role in ROLES:
        at_rest, per_batch, per_point = _costs(role, known)
        plan.add(
            "cores", f"{role} cores", _ingest_cores(role, batches, points, known), "cores",
            f"{n(at_rest)} + {n(batches)} batches/s x {n(per_batch)} µs"
            f" + {n(points)} points/s x {n(per_point)} µs",
            f"{role}_cores_at_rest", f"{role}_us_per_batch", f"{role}_us_per_point",
        )  # fmt: skip
    for role in ROLES:
        reader = known[f"{role}_cores_per_reader"].value
        # That somebody reads makes commits more frequent, once; charts are answered for each reader.
        times = load.readers if role in _ANSWERS else min(1, load.readers)
        each = "readers" if role in _ANSWERS else "while anybody reads"
        plan.add(
            "cores", f"{role} cores for readers", times * reader, "cores",
            f"{n(times)} {each} x {n(reader)}", f"{role}_cores_per_reader",
        )  # fmt: skip


def _add_processes(plan: InstallationPlan, load: Workload, gateways: int) -> None:
    n, room, least = number, load.headroom, load.replicas
    plan.add(
        "processes", "gateways", gateways, "processes",
        f"{n(plan['gateway cores'])} cores x {n(room)}, a core each, rounded up; at least {least}",
    )  # fmt: skip
    web = plan["gateway cores for readers"]
    plan.add(
        "processes", "web processes", max(least, math.ceil(web * room)), "processes",
        f"{n(web)} cores x {n(room)}, a core each, rounded up; at least {least}",
    )  # fmt: skip
    worker = plan["worker cores"] + plan["worker cores for readers"]
    plan.add(
        "processes", "workers", min(SHARDS, max(least, math.ceil(worker * room))), "processes",
        f"{n(worker)} cores x {n(room)}, a core each, rounded up; at least {min(least, SHARDS)},"
        f" at most {SHARDS}",
    )  # fmt: skip
    plan.add("processes", "shards", SHARDS, "shards", "fixed; each belongs to one worker at a time")
    store = plan["store cores"] + plan["store cores for readers"]
    plan.add(
        "processes", "store CPU", max(1, math.ceil(store * room)), "cores",
        f"{n(store)} cores x {n(room)}, rounded up; on each of {least} copies",
    )  # fmt: skip
    redis = plan["redis cores"] + plan["redis cores for readers"]
    plan.add(
        "processes", "Redis CPU", max(1, math.ceil(redis * room)), "cores",
        f"{n(redis)} cores x {n(room)}, rounded up; one thread does the work",
    )  # fmt: skip


def _add_memory(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    n, room = number, load.headroom
    for role, count in (("gateway", "gateways"), ("worker", "workers")):
        each = known[f"{role}_mib"].value
        plan.add(
            "memory", f"memory of a {role}", each * room * _MIB, "B",
            f"{n(each)} MiB x {n(room)}; {n(plan[count])} of them", f"{role}_mib",
        )  # fmt: skip
        worst = known[f"{role}_worst_mib"].value
        plan.add(
            "memory", f"memory limit of a {role}", max(each, worst) * room * _MIB, "B",
            f"the worst batches that the limits allow: {n(max(each, worst))} MiB x {n(room)}",
            f"{role}_worst_mib",
        )  # fmt: skip
    base, query = known["store_mib"].value, known["store_mib_per_query"].value
    workers = plan["workers"]
    per_worker = known["store_mib_per_worker"].value
    plan.add(
        "memory", "store memory", (base + workers * per_worker + load.readers * query) * room * _MIB, "B",
        f"({n(base)} + {n(workers)} workers x {n(per_worker)} + {n(load.readers)} readers x {n(query)}) MiB"
        f" x {n(room)}, page cache extra",
        "store_mib", "store_mib_per_worker", "store_mib_per_query",
    )  # fmt: skip


def _add_totals(plan: InstallationPlan) -> None:
    cores = {role: plan[f"{role} cores"] + plan[f"{role} cores for readers"] for role in ROLES}
    plan.add(
        "cost drivers", "cores in use", sum(cores.values()), "cores",
        " + ".join(f"{role} {number(each)}" for role, each in cores.items()),
    )  # fmt: skip
    largest = sorted(cores.items(), key=lambda each: -each[1])
    for role, each in largest:
        plan.add(
            "cost drivers", f"share of {role}", 100 * each / plan["cores in use"], "%",
            f"100 x {number(each)} cores / {number(plan['cores in use'])} cores",
        )  # fmt: skip
