"""A sweep's configuration: what is read, what is refused and how; grids in order, random by index."""

from __future__ import annotations

import pytest

from penstock.errors import Rejected
from penstock_sweeps.configuration import read_configuration

GRID = """
method: grid
parameters:
  lr: {values: [0.1, 0.01]}
  batch: {min: 8, max: 10}
  net:
    parameters:
      depth: {values: [1, 2]}
      seed: {value: 7}
"""
BOMB = "method: grid\na0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)
)
LR = "parameters: {lr: {min: 1e-4, max: 1e-1}}"


def test_a_grid_has_a_fixed_order_and_every_combination_once() -> None:
    configuration = read_configuration(GRID)
    space = configuration.space
    assert configuration.cap == space.grid_size == 12
    found = [space.grid_values(index) for index in range(12)]
    assert found[0] == {"lr": 0.1, "batch": 8, "net": {"depth": 1, "seed": 7}}
    assert found[1] == {"lr": 0.1, "batch": 8, "net": {"depth": 2, "seed": 7}}
    assert found[2] == {"lr": 0.1, "batch": 9, "net": {"depth": 1, "seed": 7}}
    assert found[11] == {"lr": 0.01, "batch": 10, "net": {"depth": 2, "seed": 7}}
    assert len({str(values) for values in found}) == 12
    assert read_configuration(GRID + "run_cap: 5\n").cap == 5
    assert read_configuration(GRID + "run_cap: 50\n").cap == 12


def test_random_points_depend_on_sweep_and_index_only() -> None:
    space = read_configuration(f"method: random\n{LR}").space
    points = [space.random_point("abc", index) for index in range(100)]
    assert points == [space.random_point("abc", index) for index in range(100)]
    assert len({point["lr"] for point in points}) == 100
    assert points[0] != space.random_point("abd", 0)


def test_yaml_numbers_are_numbers() -> None:
    space = read_configuration(
        "{method: random, parameters: {lr: {values: [1e-4, 2E5, 1e]}}}"
    ).space
    assert space.parameters[0].grid == (1e-4, 2e5, "1e")


def test_everything_is_read() -> None:
    found = read_configuration(
        f"""
        name: first
        method: bayes
        metric: {{name: val.loss, goal: maximize}}
        {LR}
        run_cap: 30
        program: train.py
        early_terminate: {{type: hyperband, min_iter: 3, eta: 2, strict: true}}
        schedule: daily
        """
    )
    assert (found.method, found.metric, found.goal, found.run_cap) == (
        "bayes", "val.loss", "maximize", 30,
    )  # fmt: skip
    assert found.hyperband is not None
    assert found.hyperband.brackets[:4] == [3, 6, 12, 24]
    assert found.hyperband.strict
    assert found.warnings == ("'schedule' has no effect in Penstock",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "invalid YAML"),
        ("hello", "must be an object with `method` and `parameters`"),
        ("method: anneal", "`method` must be grid, random or bayes, not 'anneal'"),
        ("method: random", "`parameters` must name at least one parameter"),
        ("{method: random, parameters: {lr: 3}}", "parameter lr: it must be an object"),
        ("{method: random, parameters: {o: {parameters: {}}}}", "its `parameters` are empty"),
        ("{method: random, parameters: {o: {parameters: {lr: {min: 1}}}}}", "parameter o.lr:"),
        ("{method: random, parameters: {a.b: {value: 1}, a: {parameters: {b: {value: 2}}}}}",
         "parameter a.b: it occurs twice"),
        ("{method: grid, parameters: {a: {values: [2024-01-31]}}}", "is a date: quote it"),
        ("{method: grid, parameters: {a: {values: &a [1, 2]}, b: &b {values: *a}, c: *c}}", "invalid YAML"),
        (BOMB, "has more than 100,000 parts"),
        (f"method: bayes\n{LR}", "the method bayes needs a `metric`"),
        (f"method: grid\n{LR}", "parameter lr: a grid needs `values`"),
        (f"method: random\nmetric: loss\n{LR}", "`metric` must be an object"),
        (f"method: random\nmetric: {{name: a, goal: best}}\n{LR}", "must be minimize or maximize"),
        (f"method: random\nrun_cap: 0\n{LR}", "run_cap must be a whole number of at least 1, not 0"),
        (f"method: random\nearly_terminate: {{type: median}}\n{LR}", "`type: hyperband`"),
        (f"method: random\nmetric: {{name: a}}\nearly_terminate: {{type: hyperband}}\n{LR}",
         "it needs `min_iter`, or `max_iter` and `s`"),
        (f"method: random\nearly_terminate: {{type: hyperband, min_iter: 3}}\n{LR}",
         "`early_terminate` needs a `metric`"),
        (f"method: random\nmetric: {{name: a}}\nearly_terminate: {{type: hyperband, min_iter: 3, eta: 1}}\n{LR}",
         "`eta` must be a number above 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_configuration(text)
    assert says in str(refused.value)
    assert refused.value.code == "bad_sweep"
