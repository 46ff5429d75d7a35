"""`penstock plan`: never too little, more for more, and its arithmetic adds up."""

from __future__ import annotations

import argparse
import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import Rejected
from penstock_ingest.pace import Pace
from penstock_server.plan.figures import FIGURES, Figure, figures, write_figures
from penstock_server.plan.lines import InstallationPlan, number, size
from penstock_server.plan.printing import as_figures, as_json, as_text, as_values
from penstock_server.plan.sizing import ROLES, plan_for
from penstock_server.plan.storing import disk_bytes_per_point
from penstock_server.plan.workload import BOUNDS, Workload
from penstock_server.plan_command import add_plan_command

PERFORMANCE = (Path(__file__).parents[3] / "docs" / "performance.md").read_text()
CHART = Path(__file__).parents[3] / "deploy" / "helm" / "penstock"
COUNTS = ("gateways", "web processes", "workers", "shards", "store CPU", "Redis CPU")
NEEDS = (
    *COUNTS, *(f"{role} cores" for role in ROLES), "memory of a gateway", "memory of a worker",
    "memory limit of a gateway", "memory limit of a worker",
    "store memory", "batches per second", "queued in an outage", "PENSTOCK_BACKLOG_BYTES",
    "Redis maxmemory", "Redis memory", "disk per month", "kept", "disk", "network in",
    "network out", "cores in use",
)  # fmt: skip
# More of these never means less of anything.
MORE = (
    "runs", "keys", "hz", "days", "outage_min", "readers", "retention", "replicas", "media_mb",
    "headroom",
)  # fmt: skip


def numbers(name: str, most: float) -> st.SearchStrategy[float]:
    least, greatest = BOUNDS[name]
    return st.floats(least, min(greatest, most), allow_nan=False)


LOADS = st.builds(
    Workload,
    runs=st.integers(1, 200_000),
    keys=st.integers(1, 20_000),
    hz=numbers("hz", 100),
    days=numbers("days", 31),
    run_hours=numbers("run_hours", 1_000),
    outage_min=numbers("outage_min", 10_000),
    readers=st.integers(0, 2_000),
    retention=numbers("retention", 5_000),
    replicas=st.integers(1, 5),
    media_mb=numbers("media_mb", 10_000),
    headroom=numbers("headroom", 5),
)


@given(LOADS, st.sampled_from(MORE), st.floats(1.0, 30.0))
@settings(deadline=None)
def test_more_of_anything_never_needs_less(load: Workload, name: str, times: float) -> None:
    now = getattr(load, name)
    more: Any = math.ceil(max(now, 1) * times) if isinstance(now, int) else now * times
    greater = replace(load, **{name: min(more, type(now)(BOUNDS[name][1]))})
    before, after = plan_for(load), plan_for(greater)
    for need in NEEDS:
        assert after[need] >= before[need] * (1 - 1e-9), need


@given(LOADS)
@settings(deadline=None)
def test_there_is_one_of_each_and_a_worker_never_lacks_a_shard(load: Workload) -> None:
    plan = plan_for(load)
    for name in COUNTS:
        assert plan[name] >= 1, name
        assert plan[name] == int(plan[name]), name
    assert min(load.replicas, 16) <= plan["workers"] <= 16
    assert min(plan["gateways"], plan["web processes"]) >= load.replicas
    for line in plan.lines.values():
        assert math.isfinite(line.value), line
        assert line.value >= 0, line


@given(LOADS)
@settings(deadline=None)
def test_sums_agree(load: Workload) -> None:
    plan = plan_for(load)
    total = sum(plan[f"{role} cores"] + plan[f"{role} cores for readers"] for role in ROLES)
    assert plan["cores in use"] == pytest.approx(total)
    assert sum(plan[f"share of {role}"] for role in ROLES) == pytest.approx(100)
    parts = ("points per month", "tiers per month", "catalog per month", "media per month")
    assert plan["disk per month"] == pytest.approx(sum(plan[part] for part in parts))
    assert plan["points per batch"] * plan["batches per second"] == pytest.approx(load.points_per_s)
    assert plan["gateways"] >= plan["gateway cores"] * load.headroom * (1 - 1e-9)


@given(LOADS)
@settings(deadline=None)
def test_one_gateway_less_would_be_too_few(load: Workload) -> None:
    plan = plan_for(load)
    fewer = int(plan["gateways"]) - 1
    if fewer < load.replicas:
        return
    from penstock_server.plan.sizing import _gateway_cores  # noqa: PLC0415

    assert _gateway_cores(load, fewer, figures()) * load.headroom > fewer


def figure(name: str, value: float) -> Figure:
    return replace(next(iter(figures().values())), name=name, value=value)


def round_figures() -> dict[str, Figure]:
    """Figures with which a plan can be worked out by heart."""
    values = dict.fromkeys(figures(), 0.0)
    values |= {"gateway_us_per_batch": 100.0, "worker_us_per_point": 0.5, "gateway_mib": 10.0}
    values |= {"disk_bytes_per_point_1_key": 8.0, "disk_bytes_per_point_100_keys": 4.04}
    values |= {"wire_bytes_per_point": 5.0, "redis_bytes_per_wire_byte": 2.0, "redis_mib": 1.0}
    values |= {"catalog_bytes_per_run": 1_000.0, "request_bytes": 100.0}
    return {name: figure(name, value) for name, value in values.items()}


def test_units_are_right_in_a_plan_worked_out_by_hand() -> None:
    load = Workload(
        runs=500, keys=100, hz=2.0, days=10, run_hours=48, outage_min=2, readers=0, retention=60,
        replicas=2, media_mb=3, headroom=2,
    )  # fmt: skip
    plan = plan_for(load, round_figures())
    expected = {
        "points per second": 100_000,
        "seconds between batches": 1,
        "batches per second": 500,
        "points per batch": 200,
        "gateway cores": 500 * 100e-6,
        "worker cores": 0.05,
        "gateways": 2,
        "memory of a gateway": 20 * 2**20,
        "batches as sent": 500_000,
        "queued in an outage": 120 * 1e6,
        "PENSTOCK_BACKLOG_BYTES": max(2**28, 2 * (2**20 + 120e6)),
        "Redis maxmemory": 1.25 * 2**28,
        "points per month": 1e5 * 864_000 * (4 + 4 / 100),
        "runs per month": 500 * 10 / 2,
        "catalog per month": 2_500_000,
        "media per month": 2_500 * 3e6,
        "network in": 500_000 + 500 * 100,
    }
    assert {name: plan[name] for name in expected} == pytest.approx(expected)
    assert plan["kept"] == pytest.approx(2 * plan["disk per month"])
    assert plan["disk"] == pytest.approx(plan["kept"] * 2 * 2)


def test_the_formula_of_a_line_is_its_value() -> None:
    """Where a formula is plain arithmetic, what it says is what the plan says."""
    plan = plan_for(Workload(runs=700, keys=30, hz=0.5, readers=7, media_mb=2))
    checked = 0
    for line in plan.lines.values():
        text = re.sub(r"(?<=\d),(?=\d{3})", "", line.formula)
        text = re.sub(
            r"\s(batches/s|points/s|rows/s|requests/s|runs|keys|Hz|days|readers|cores|B)\b",
            "",
            text,
        )
        text = text.replace(" µs", "e-6").replace(" x ", "*").replace("86400 s", "86400")
        if re.fullmatch(r"[\d.e()+*/ -]+", text):
            # Numbers are shown with four digits.
            assert eval(text) == pytest.approx(line.value, rel=5e-3), line  # noqa: S307
            checked += 1
    assert checked >= 12


def test_clients_are_asked_to_send_as_often_as_the_gateway_asks_them() -> None:
    """The plan's interval is what `Pace` settles on."""
    for runs, gateways in ((100, 1), (5_000, 1), (20_000, 2)):
        now, interval = [0.0], 1.0
        pace = Pace(is_watched=lambda: False, clock=lambda now=now: now[0])  # type: ignore[misc]
        for _ in range(60):
            now[0] += 1.0
            pace.count(round(runs / gateways / interval))
            interval = (interval + pace.interval_s) / 2  # clients do not change all at once
        from penstock_server.plan.sizing import _interval_s  # noqa: PLC0415

        planned = _interval_s(Workload(runs=runs, keys=1, hz=10, readers=0), gateways)
        assert interval == pytest.approx(planned, rel=0.05)


def test_what_was_not_measured_is_said() -> None:
    small = plan_for(Workload(runs=10, keys=20, hz=1))
    assert not small.warnings
    large = plan_for(Workload(runs=500_000, keys=1_000, hz=10, readers=500, replicas=3))
    text = " ".join(large.warnings)
    for each in (
        "extrapolated",
        "16 shards",
        "Redis thread",
        "not replicated yet",
        "several was not",
    ):
        assert each in text, each
    assert "PENSTOCK_RUNS_PER_PROJECT" in text
    assert large["workers"] == 16


def test_every_figure_has_its_source_machine_and_date() -> None:
    known = figures()
    assert len(known) > 30
    for each in known.values():
        assert f"| {each.source}" in PERFORMANCE, each
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", each.date), each
        assert each.machine, each
        assert each.unit, each
        assert each.what, each
        assert each.value >= 0, each
    used = {name for line in plan_for(Workload(1, 1, 1)).lines.values() for name in line.figures}
    told = {"most_runs", "most_points_per_s", "most_batches_per_s"}
    assert used <= set(known)
    assert {name for name in known if name not in used | told} <= {
        "client_us_per_point", "client_cores_per_run",
    }  # fmt: skip


def test_disk_is_interpolated_between_what_was_measured() -> None:
    known = figures()
    for keys, name in ((1, "1_key"), (100, "100_keys")):
        measured = known[f"disk_bytes_per_point_{name}"].value
        assert disk_bytes_per_point(keys, known)[2] == pytest.approx(measured)
    ten = float(re.search(r"10 keys per step, [^|]*\| ([\d.]+) B", PERFORMANCE)[1])  # type: ignore[index]
    assert disk_bytes_per_point(10, known)[2] == pytest.approx(ten, rel=0.1)


def test_new_figures_replace_those_of_their_names_only(tmp_path: Path) -> None:
    path = tmp_path / "figures.toml"
    path.write_text(FIGURES.read_text())
    new = replace(figures()["redis_mib"], value=123.0, machine='a "quoted" one', date="2030-01-01")
    write_figures([new], path)
    after = figures(path)
    assert after["redis_mib"] == new
    assert {n: f for n, f in after.items() if n != "redis_mib"} == {
        n: f for n, f in figures().items() if n != "redis_mib"
    }


@pytest.mark.parametrize(
    "wrong", [{"runs": 0}, {"keys": -1}, {"hz": 0.0}, {"hz": math.nan}, {"days": 32.0}, {"headroom": 0.5}]
)  # fmt: skip
def test_a_number_out_of_bounds_is_refused_by_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match=f"--{next(iter(wrong))} must be from"):
        Workload(**{"runs": 1, "keys": 1, "hz": 1.0, **wrong})


def test_text_json_and_values_say_the_same() -> None:
    load = Workload(runs=10_000, keys=200, hz=1.0, readers=50, replicas=2)
    plan: InstallationPlan = plan_for(load)
    text, content = as_text(load, plan), json.loads(as_json(load, plan))
    assert content["load"] == asdict(load)
    assert [line["name"] for line in content["lines"]] == list(plan.lines)
    assert content["warnings"] == plan.warnings
    for line in plan.lines.values():
        assert line.name in text
        assert line.formula in text
    assert all(name in as_figures() for name in figures())


def test_values_are_those_of_the_plan() -> None:
    load = Workload(runs=10_000, keys=200, hz=1.0, readers=50, replicas=2)
    plan = plan_for(load)
    values = yaml.safe_load(as_values(load, plan))
    assert values["mode"] == "cluster"
    for role, name in (("gateway", "gateways"), ("web", "web processes"), ("worker", "workers")):
        assert values[role]["replicas"] == plan[name]
    memory = values["worker"]["resources"]
    assert int(memory["requests"]["memory"][:-2]) * 2**20 >= plan["memory of a worker"]
    assert int(memory["limits"]["memory"][:-2]) * 2**20 >= plan["memory limit of a worker"]
    assert int(values["settings"]["PENSTOCK_BACKLOG_BYTES"]) >= plan["PENSTOCK_BACKLOG_BYTES"]


def test_a_small_load_gets_one_pod() -> None:
    load = Workload(runs=10, keys=20, hz=1.0)
    plan = plan_for(load)
    values = yaml.safe_load(as_values(load, plan))
    assert (values["mode"], values["single"]["workers"]) == ("single", 1)
    assert int(values["single"]["persistence"]["size"][:-2]) * 2**30 >= plan["disk"]
    assert int(values["single"]["resources"]["requests"]["cpu"]) >= plan["cores in use"]
    assert set(values) == {"mode", "single", "settings"}


def test_numbers_are_written_as_people_write_them() -> None:
    assert [number(each) for each in (0, 1, 0.0123456, 12.345, 1234567.8)] == [
        "0", "1", "0.01235", "12.35", "1,234,568",
    ]  # fmt: skip
    assert [size(each) for each in (999, 1_500, 2e13)] == ["999 B", "1.5 kB", "20 TB"]
    assert size(3e6, "B/s") == "3 MB/s"


@pytest.mark.parametrize("replicas", [1, 3])
def test_values_are_known_to_the_chart(replicas: int) -> None:
    if not (CHART / "values.schema.json").exists():
        pytest.skip("there is no chart beside this checkout's code")
    jsonschema = pytest.importorskip("jsonschema")
    load = Workload(runs=500, keys=100, hz=1.0, replicas=replicas)
    given = yaml.safe_load(as_values(load, plan_for(load)))
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(merged(values, given))
    # Which engines there are is not the plan's to say.
    assert not [each.message for each in errors if not {"engines"} & set(map(str, each.path))]


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """As Helm puts values over a chart's own."""
    both = {
        name: merged(below[name], value) if isinstance(value, dict) and name in below else value
        for name, value in above.items()
    }
    return {**below, **both}


def said(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The output of `penstock plan`."""
    parser = argparse.ArgumentParser()
    add_plan_command(parser.add_subparsers())
    arguments = parser.parse_args(["plan", *options])
    assert arguments.run(arguments) == 0
    return capsys.readouterr().out


def test_the_command_prints_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--runs", "10000", "--keys", "200", "--hz", "1")
    text = said(capsys, *options)
    assert "2,000,000 points/s   = 10,000 runs x 200 keys x 1 Hz" in text
    assert json.loads(said(capsys, *options, "--json"))["load"]["runs"] == 10_000
    assert yaml.safe_load(said(capsys, *options, "--values"))["settings"]
    assert all(name in said(capsys, "--figures") for name in ("redis_mib", "disk_bytes"))
    assert said(capsys) == said(capsys, "--days", "30", "--outage-min", "10", "--headroom", "1.5")


def test_defaults_of_the_command_are_those_of_a_load(capsys: pytest.CaptureFixture[str]) -> None:
    asked = json.loads(said(capsys, "--json"))["load"]
    assert asked == asdict(Workload(runs=10, keys=20, hz=1.0))
