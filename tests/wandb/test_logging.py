"""What scripts log with the official client is there, every value of it."""

from __future__ import annotations

import json
import math

import pytest
from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb


def log(up: Up, run: str, body: str, *, timeout_s: float = 50.0) -> Logged:
    """A run of a script with this body, in which `run` is the run and `math` is imported."""
    code = f"""
import math, wandb
run = wandb.init(project="logging", id={run!r})
{body}
run.finish()
"""
    run_wandb(up, code, timeout_s=timeout_s).check()
    return Logged(up, "logging", run)


def test_numbers(up: Up) -> None:
    body = """
for i in range(500):
    run.log({"loss": 1 / (i + 1), "count": i, "whole": float(i)})
"""
    run = log(up, "numbers", body)
    assert run.state() == "finished"
    assert run.history() == [
        {"_step": i, "loss": 1 / (i + 1), "count": i, "whole": float(i)} for i in range(500)
    ]
    assert run.table()["count"].to_pylist() == list(range(500))


def test_numbers_that_json_does_not_have(up: Up) -> None:
    body = """
for value in (1.0, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 2.0):
    run.log({"value": value, "always": 1})
"""
    run = log(up, "nan", body)
    values = run.table()["value"].to_pylist()
    assert values[0] == 1.0
    assert math.isnan(values[1])
    assert values[2:4] == [math.inf, -math.inf]
    assert values[4:] == [0.0, 5e-324, 1.7976931348623157e308, 2.0]
    assert run.column("always") == [1] * 8


def test_large_integers(up: Up) -> None:
    """Points are 64-bit floats: beyond 2^53 the nearest of them is kept."""
    numbers = [0, -1, 2**53, 2**53 + 1, 2**62, -(2**63), 2**63, 2**64, 10**21, -(10**30)]
    run = log(up, "integers", f"for n in {numbers}:\n    run.log({{'n': n}})")
    assert [float(n) for n in run.table()["n"].to_pylist()] == [float(n) for n in numbers]


@pytest.mark.smoke
def test_what_is_no_number(up: Up) -> None:
    body = """
import datetime
run.log({"text": "a\\nb \\u00e9 \\U0001f600", "yes": True, "no": False, "nothing": None, "list": [1, 2.5, "x"],
         "empty": "", "none": [], "when": datetime.date(2024, 2, 29)})
run.log({"text": "second", "number": 1})
"""
    run = log(up, "values", body)
    first, second = run.history()
    assert first["text"] == "a\nb \u00e9 \U0001f600"
    assert first["yes"] is True
    assert first["no"] is False
    assert first["nothing"] is None
    assert first["list"] == [1, 2.5, "x"]
    assert first["empty"] == ""
    assert first["none"] == []
    assert first["when"] == "2024-02-29"
    assert second == {"_step": 1, "text": "second", "number": 1}


def test_nested_values_are_flattened(up: Up) -> None:
    body = """
for i in range(3):
    run.log({"model": {"layer": {"0": i, "name": f"n{i}"}, "depth": 2}, "flat": i})
"""
    run = log(up, "nested", body)
    assert run.history() == [
        {"_step": i, "model.layer.0": i, "model.layer.name": f"n{i}", "model.depth": 2, "flat": i}
        for i in range(3)
    ]


def test_names_of_metrics(up: Up) -> None:
    names = [
        "train/loss",
        "a.b.c",
        "val loss",
        "größe",
        "损失",
        "emoji \U0001f680",
        "a:b=c,d;e",
        "'\"\\",
        "%2F?&#",
    ]
    body = f"""
for i in range(2):
    run.log({{name: i + at for at, name in enumerate({names!r})}})
"""
    run = log(up, "names", body)
    assert run.history() == [
        {"_step": i, **{name: i + at for at, name in enumerate(names)}} for i in range(2)
    ]
    assert set(names) <= set(run.keys())
    for at, name in enumerate(names):
        if "," not in name:
            assert run.column(name) == [at, at + 1]


def test_names_that_are_too_long_are_cut_and_told_apart(up: Up) -> None:
    body = """
run.log({"a" * 5000 + "x": 1, "a" * 5000 + "y": 2, "short": 3})
"""
    run = log(up, "long-names", body)
    [row] = run.history()
    assert sorted(row.values()) == [0, 1, 2, 3]
    assert row["short"] == 3


def test_steps(up: Up) -> None:
    """Explicit ones with gaps, several calls for one step, and calls that do not commit."""
    body = """
run.log({"a": 1}, step=10)
run.log({"b": 2}, step=10)
run.log({"a": 3}, step=1_000)
run.log({"a": 4, "c": 0}, commit=False)
run.log({"b": 5}, commit=True)
run.log({"a": 6}, step=1_000_000_000_000)
run.log({"late": 1}, step=5)
run.log({"a": 7}, commit=False)
"""
    run = log(up, "steps", body)
    assert run.history() == [
        {"_step": 10, "a": 1, "b": 2},
        {"_step": 1000, "a": 4, "b": 5, "c": 0},
        {"_step": 1_000_000_000_000, "a": 7},
    ]
    assert run.fields()["last_step"] == 1_000_000_000_000


def test_what_each_metric_had_last(up: Up) -> None:
    """Some metrics come now and then, so that lines differ in their keys."""
    body = """
for i in range(101):
    run.log({"loss": i, **({"val": -i} if i % 10 == 5 else {}), **({"note": "x"} if i % 25 == 3 else {})})
"""
    run = log(up, "last", body)
    keys = run.keys()
    assert (keys["loss"]["last"], keys["loss"]["last_step"]) == (100, 100)
    assert (keys["val"]["last"], keys["val"]["last_step"]) == (-95, 95)
    assert run.column("loss") == list(range(101))


def test_times_are_when_it_was_logged(up: Up) -> None:
    body = """
import json, pathlib, time
logged = []
for i in range(20):
    before = time.time()
    run.log({"i": i})
    logged.append([before, time.time()])
    time.sleep(0.05)
pathlib.Path("logged.json").write_text(json.dumps(logged))
print(json.dumps(logged))
"""
    code = f"import wandb\nrun = wandb.init(project='logging', id='times')\n{body}\nrun.finish()"
    ended = run_wandb(up, code).check()
    logged = json.loads(ended.stdout.splitlines()[-1])
    rows = Logged(up, "logging", "times").rows()
    assert len(rows) == 20
    for row, (before, after) in zip(rows, logged, strict=True):
        assert before - 0.001 <= row["_timestamp"] <= after + 0.001
    assert rows[-1]["_runtime"] > rows[0]["_runtime"] >= 0


def test_one_run_after_another_in_one_script(up: Up) -> None:
    code = """
import wandb
for name in ("one", "two", "three"):
    with wandb.init(project="logging", id=name) as run:
        for i in range(10):
            wandb.log({"loss": len(name) + i})
with wandb.init(project="logging", id="inner-a", reinit="create_new") as a:
    with wandb.init(project="logging", id="inner-b", reinit="create_new") as b:
        b.log({"loss": 1})
    a.log({"loss": 2})
"""
    run_wandb(up, code).check()
    for name in ("one", "two", "three"):
        assert Logged(up, "logging", name).column("loss") == [len(name) + i for i in range(10)]
    assert Logged(up, "logging", "inner-a").column("loss") == [2]
    assert Logged(up, "logging", "inner-b").column("loss") == [1]


def test_names_of_runs_and_projects(up: Up) -> None:
    """A project without a name, one with spaces, and a run that is given a name by the server."""
    code = """
import wandb
with wandb.init(id="nowhere") as run:
    run.log({"loss": 1})
with wandb.init(project="with spaces and ü", id="some.where_else-1") as run:
    run.log({"loss": 2})
    print(run.name)
"""
    ended = run_wandb(up, code).check()
    assert Logged(up, "uncategorized", "nowhere").column("loss") == [1]
    run = Logged(up, "with spaces and ü", "some.where_else-1")
    assert run.column("loss") == [2]
    name = ended.stdout.splitlines()[-1]
    assert name not in ("", "None", "some.where_else-1")
    assert run.fields()["name"] == name


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_a_hundred_thousand_steps(up: Up) -> None:
    body = """
for i in range(100_000):
    run.log({"loss": 1 / (i + 1), "i": i, "train/acc": i % 7})
"""
    run = log(up, "many-steps", body, timeout_s=200)
    table = run.table()
    assert table["_step"].to_pylist() == list(range(100_000))
    assert table["i"].to_pylist() == list(range(100_000))
    assert table["loss"].to_pylist() == [1 / (i + 1) for i in range(100_000)]
    assert table["train/acc"].to_pylist() == [i % 7 for i in range(100_000)]


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_ten_thousand_keys(up: Up) -> None:
    body = """
for i in range(10):
    run.log({f"layer.{k}/weight": k + i / 16 for k in range(10_000)})
"""
    run = log(up, "many-keys", body, timeout_s=200)
    keys = run.keys()
    names = [f"layer.{k}/weight" for k in range(10_000)]
    assert set(names) <= set(keys)
    assert all(keys[name]["last"] == k + 9 / 16 for k, name in enumerate(names))
    rows = run.history()
    assert len(rows) == 10
    for i, row in enumerate(rows):
        assert row == {"_step": i, **{name: k + i / 16 for k, name in enumerate(names)}}
