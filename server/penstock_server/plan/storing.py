"""The parts of a plan that are about bytes: the queue's memory, the disk, the network."""

from __future__ import annotations

from collections.abc import Mapping

from penstock_server.plan.figures import Figure
from penstock_server.plan.lines import InstallationPlan, number, size
from penstock_server.plan.workload import Workload

__all__ = ["add_disk", "add_network", "add_queue", "disk_bytes_per_point"]

_MIB = 2**20
_DAY_S = 86_400.0
_LEAST_BACKLOG_MIB = 256
_MONTH_DAYS = 30.0
_CHART_EVERY_S = 10.0
"""How often a reader's page gets a chart of 200 runs: an assumption."""


def wire_bytes_per_s(
    plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]
) -> tuple[float, str]:
    """Bytes of batches per second as they are sent and queued, and the formula."""
    batch, key, row, point = (
        known[f"wire_bytes_per_{each}"].value for each in ("batch", "key", "row", "point")
    )
    batches, points, rows = (
        plan["batches per second"],
        plan["points per second"],
        load.runs * load.hz,
    )
    keys = batches * load.keys
    n = number
    text = (
        f"{n(batches)} batches/s x ({n(batch)} B + {n(load.keys)} keys x {n(key)} B)"
        f" + {n(rows)} rows/s x {n(row)} B + {n(points)} points/s x {n(point)} B"
    )
    return batches * batch + keys * key + rows * row + points * point, text


def add_queue(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    """Redis: room for an outage of the workers or the store."""
    n, outage_s = number, load.outage_min * 60
    wire, text = wire_bytes_per_s(plan, load, known)
    plan.add(
        "queue", "batches as sent", wire, "B/s", text,
        *(f"wire_bytes_per_{each}" for each in ("batch", "key", "row", "point")),
    )  # fmt: skip
    per_batch, per_byte = (
        known["redis_bytes_per_batch"].value,
        known["redis_bytes_per_wire_byte"].value,
    )
    queued = plan.add(
        "queue", "queued in an outage",
        outage_s * (plan["batches per second"] * per_batch + wire * per_byte), "B",
        f"{n(load.outage_min)} min x 60 s x ({n(plan['batches per second'])} batches/s x {n(per_batch)} B"
        f" + {size(wire, 'B/s')} x {n(per_byte)})",
        "redis_bytes_per_batch", "redis_bytes_per_wire_byte",
    )  # fmt: skip
    base = known["redis_mib"].value * _MIB
    limit = plan.add(
        "queue", "PENSTOCK_BACKLOG_BYTES",
        max(_LEAST_BACKLOG_MIB * _MIB, (base + queued) * load.headroom), "B",
        f"({size(base)} + {size(queued)}) x {n(load.headroom)}; at least {_LEAST_BACKLOG_MIB} MiB,"
        " since a shard may take half", "redis_mib",
    )  # fmt: skip
    most = plan.add(
        "queue", "Redis maxmemory", 1.25 * limit, "B",
        "1.25 x PENSTOCK_BACKLOG_BYTES, so that gateways stop before Redis does",
    )  # fmt: skip
    plan.add(
        "queue", "Redis memory", 2 * most, "B",
        "2 x maxmemory: while the append-only file is rewritten, changed pages exist twice",
    )  # fmt: skip


def disk_bytes_per_point(keys: int, known: Mapping[str, Figure]) -> tuple[float, float, float]:
    """(bytes of a point, bytes of a row, bytes per point together): a row's step and time are shared by its keys."""
    one = known["disk_bytes_per_point_1_key"].value
    hundred = known["disk_bytes_per_point_100_keys"].value
    row = (one - hundred) / (1 - 1 / 100)
    point = one - row
    return point, row, point + row / keys


def add_disk(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    """Points, tiers, catalog and media; per month, and all that is kept."""
    n = number
    logging_s = load.days * _DAY_S
    points = plan["points per second"]
    each_point, each_row, each = disk_bytes_per_point(load.keys, known)
    parts = [
        plan.add(
            "disk", "points per month", points * logging_s * each, "B",
            f"{n(points)} points/s x {n(load.days)} days x 86,400 s x ({n(each_point)} B"
            f" + {n(each_row)} B / {n(load.keys)} keys)",
            "disk_bytes_per_point_1_key", "disk_bytes_per_point_100_keys",
        )
    ]  # fmt: skip
    tiers = known["tier_bytes_per_point"].value
    parts.append(
        plan.add(
            "disk", "tiers per month", points * logging_s * tiers, "B",
            f"{n(points)} points/s x {n(load.days)} days x 86,400 s x {n(tiers)} B",
            "tier_bytes_per_point",
        )
    )  # fmt: skip
    runs = plan.add(
        "disk", "runs per month", load.runs * load.days * 24 / load.run_hours, "runs",
        f"{n(load.runs)} at a time x {n(load.days)} days x 24 h / {n(load.run_hours)} h",
    )  # fmt: skip
    per_run = known["catalog_bytes_per_run"].value
    parts.append(
        plan.add(
            "disk", "catalog per month", runs * per_run, "B",
            f"{n(runs)} runs x {n(per_run)} B", "catalog_bytes_per_run",
        )
    )  # fmt: skip
    parts.append(
        plan.add(
            "disk", "media per month", runs * load.media_mb * 1e6, "B",
            f"{n(runs)} runs x {n(load.media_mb)} MB",
        )
    )  # fmt: skip
    month = plan.add(
        "disk", "disk per month", sum(parts), "B", " + ".join(size(part) for part in parts)
    )
    kept = plan.add(
        "disk", "kept", month * load.retention / _MONTH_DAYS, "B",
        f"{size(month)} x {n(load.retention)} days / 30 days",
    )  # fmt: skip
    plan.add(
        "disk", "disk", kept * load.replicas * load.headroom, "B",
        f"{size(kept)} x {n(load.replicas)} copies x {n(load.headroom)}, room for merges included",
    )  # fmt: skip


def add_network(plan: InstallationPlan, load: Workload, known: Mapping[str, Figure]) -> None:
    """What crosses the gateways."""
    n, batches = number, plan["batches per second"]
    request, reply = known["request_bytes"].value, known["reply_bytes"].value
    plan.add(
        "network", "network in", plan["batches as sent"] + batches * request, "B/s",
        f"{size(plan['batches as sent'], 'B/s')} + {n(batches)} requests/s x {n(request)} B of head",
        "request_bytes",
    )  # fmt: skip
    chart = known["chart_bytes"].value
    plan.add(
        "network", "network out", batches * reply + load.readers * chart / _CHART_EVERY_S, "B/s",
        f"{n(batches)} replies/s x {n(reply)} B + {n(load.readers)} readers x {size(chart)} every"
        f" {n(_CHART_EVERY_S)} s (an assumption)",
        "reply_bytes", "chart_bytes",
    )  # fmt: skip
