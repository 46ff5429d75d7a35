"""The Bayesian search learns: with the same number of trials it comes closer than chance does."""

from __future__ import annotations

import math
from statistics import median

import pytest

from penstock_storage.contracts.sweep_rows import TrialRow
from penstock_sweeps.bayes import propose
from penstock_sweeps.configuration import read_configuration
from penstock_sweeps.space import Space

SPACE = read_configuration(
    """
    method: bayes
    metric: {name: loss}
    parameters:
      lr: {min: 1e-6, max: 1.0, distribution: log_uniform_values}
      width: {min: 1, max: 512}
      activation: {values: [relu, tanh, gelu]}
      seed: {value: 3}
    """
).space


def loss(space: Space, point: dict[str, float]) -> float:
    """Lowest, 0, at lr = 1e-3, width = 128, gelu."""
    values = space.values(point)
    assert values["seed"] == 3
    assert 1e-6 <= values["lr"] <= 1
    assert values["width"] in range(1, 513)
    far = (math.log10(values["lr"]) + 3) ** 2 + (values["width"] / 128 - 1) ** 2
    return float(far + (values["activation"] != "gelu"))


def trial(index: int, point: dict[str, float], value: float | None, state: str) -> TrialRow:
    return TrialRow(
        sweep=1, index=index, run=f"r{index}", state=state, agent=1, handed=1, lease_until=0,
        stop=False, parameters={}, point=point, value=value, rungs={}, ended_at=0,
    )  # fmt: skip


def bayesian(sweep: str, trials: int, goal: str = "minimize") -> float:
    sign = -1 if goal == "maximize" else 1
    known: list[TrialRow] = []
    for index in range(trials):
        point = propose(SPACE, goal, known, sweep, str(index))
        known.append(trial(index, point, sign * loss(SPACE, point), "settled"))
    return min(sign * row.value for row in known if row.value is not None)


def random(sweep: str, trials: int) -> float:
    return min(loss(SPACE, SPACE.random_point(sweep, index)) for index in range(trials))


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_it_beats_chance() -> None:
    seeds = ["a", "b", "c"]
    assert median(bayesian(seed, 50) for seed in seeds) < median(random(seed, 50) for seed in seeds)


def test_the_same_question_has_the_same_answer() -> None:
    known = [trial(n, SPACE.random_point("s", n), n / 10, "settled") for n in range(20)]
    assert propose(SPACE, "minimize", known, "s", "1") == propose(
        SPACE, "minimize", known, "s", "1"
    )
    assert propose(SPACE, "minimize", known, "s", "1") != propose(
        SPACE, "minimize", known, "s", "2"
    )


def test_it_goes_towards_what_the_goal_says() -> None:
    known = [
        trial(n, {"lr": n / 40, "width": 0.5, "activation": 0.0}, n / 40, "settled")
        for n in range(40)
    ]
    low = median(propose(SPACE, "minimize", known, "s", str(n))["lr"] for n in range(9))
    high = median(propose(SPACE, "maximize", known, "s", str(n))["lr"] for n in range(9))
    assert low < 0.4 < 0.6 < high


def test_trials_without_a_value_and_of_another_space_do_no_harm() -> None:
    odd = [
        trial(0, {"lr": 0.5}, 1.0, "settled"),
        trial(1, {"lr": 0.5, "width": 0.5, "activation": 7.0}, 1.0, "settled"),
        trial(2, SPACE.random_point("s", 2), None, "settled"),
        trial(3, SPACE.random_point("s", 3), None, "running"),
        trial(4, SPACE.random_point("s", 4), 0.5, "running"),
    ]
    assert propose(SPACE, "minimize", odd, "s", "x").keys() == {"lr", "width", "activation"}
