"""Statistics of tensors: equal to those of all elements, on the CPU and by the operations used on devices."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.logged_values import check_histogram

from penstock.values import statistics
from penstock.values.histograms import HistogramBuilder
from penstock.values.statistics import Statistics, measure, new_rows

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def torch() -> Any:
    """Imported at first use: that takes seconds, and only one of the test processes needs it."""
    return importlib.import_module("torch")


def measured(tensor: Any, *, zeros: int = 0, by_device: bool = False) -> Statistics:
    """`by_device`: with the operations for accelerators, which work on a CPU as well."""
    row = new_rows(torch(), 1, tensor.device)[0]
    if by_device:
        statistics._on_device(torch(), statistics._flat(tensor.detach()), row, zeros)
    else:
        measure(torch(), tensor, row, zeros=zeros)
    return Statistics(row.tolist(), tensor.numel() + zeros, zeros)


TENSORS: dict[str, Callable[[], Any]] = {
    "float": lambda: torch().randn(1_001),
    "double": lambda: torch().randn(1_000, dtype=torch().float64),
    "half": lambda: torch().randn(1_000).half(),
    "bfloat16": lambda: torch().randn(1_000).bfloat16(),
    "float8": lambda: torch().randn(1_000).to(torch().float8_e4m3fn),
    "integers": lambda: torch().arange(-300, 700),
    "booleans": lambda: torch().tensor([True, False, True]),
    "matrix": lambda: torch().randn(30, 40).t(),
    "channels last": lambda: torch().randn(2, 3, 4, 5).to(memory_format=torch().channels_last),
    "every second": lambda: torch().randn(100, 20)[:, ::2],
    "one element": lambda: torch().randn(1),
    "all equal": lambda: torch().full((77,), 3.5),
    "zeros": lambda: torch().zeros(77),
    "several pieces": lambda: torch().randn(200_003),
    "several blocks, even": lambda: torch().randn(100_000),
    "tiny": lambda: torch().tensor([0.0, 1e-45, 3e-45]),
    "huge": lambda: torch().tensor([-3e38, 0.0, 3e38]),
    "far from zero": lambda: 1e6 + torch().rand(500),
    "huge double": lambda: torch().tensor([-1e308, 0.0, 1e308], dtype=torch().float64),
}


@pytest.mark.parametrize("by_device", [False, True])
@pytest.mark.parametrize("name", TENSORS)
def test_they_are_those_of_all_elements(
    name: str, by_device: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statistics, "_PIECE", 1 << 16)
    torch().manual_seed(0)
    tensor = TENSORS[name]()
    found = measured(tensor, by_device=by_device)
    made = found.histogram()
    assert made is not None
    check_histogram(made, tensor.numel())
    exact = tensor.double().numpy().reshape(-1)
    expected = HistogramBuilder(lambda note: None).of(exact)
    assert np.allclose(made["bins"], expected["bins"], rtol=1e-6)
    # A number beside an edge may be rounded across it.
    assert np.abs(np.cumsum(made["values"]) - np.cumsum(expected["values"])).max() <= 2
    assert found.others == 0
    if name != "huge double":  # whose norm is beyond a double
        assert math.isclose(found.norm, np.linalg.norm(exact), rel_tol=1e-5)


@pytest.mark.parametrize("by_device", [False, True])
def test_what_is_not_finite_is_counted(by_device: bool) -> None:
    odd = [math.nan, math.inf, -math.inf]
    found = measured(torch().tensor([*odd, 1.0, 2.0, math.nan]), by_device=by_device)
    made = found.histogram()
    assert made is not None
    assert (found.others, sum(made["values"])) == (4, 2)
    assert (made["bins"][0], made["bins"][-1]) == (1.0, 2.0)
    assert math.isnan(found.norm)
    nothing = measured(torch().tensor(odd), by_device=by_device)
    assert (nothing.others, nothing.histogram()) == (3, None)


@pytest.mark.parametrize("by_device", [False, True])
def test_implicit_zeros_count(by_device: bool) -> None:
    made = measured(torch().tensor([2.0, 4.0]), zeros=10, by_device=by_device).histogram()
    assert made is not None
    assert (made["bins"][0], made["bins"][-1], made["values"][0]) == (0.0, 4.0, 10)
    check_histogram(made, 12)


def test_only_zeros_are_stored_nowhere() -> None:
    made = measured(torch().empty(0), zeros=10).histogram()
    assert made is not None
    check_histogram(made, 10)


def test_complex_numbers_count_by_their_absolute_value() -> None:
    found = measured(torch().tensor([3 + 4j, 0j]))
    made = found.histogram()
    assert made is not None
    assert (found.norm, made["bins"][-1]) == (5.0, 5.0)


def test_a_device_may_be_forced_to_be_deterministic() -> None:
    tensor = torch().cat([torch().randn(5_000), torch().tensor([math.nan, math.inf, -math.inf])])
    usual = measured(tensor, by_device=True).histogram()
    torch().use_deterministic_algorithms(True)
    try:
        ordered = measured(tensor, by_device=True).histogram()
    finally:
        torch().use_deterministic_algorithms(False)
    assert usual is not None
    assert ordered is not None
    check_histogram(ordered, 5_000)
    assert np.abs(np.cumsum(usual["values"]) - np.cumsum(ordered["values"])).max() <= 2


def test_a_factor_multiplies_all_of_it() -> None:
    row = new_rows(torch(), 1, torch().device("cpu"))
    measure(torch(), torch().tensor([-2.0, 4.0]), row[0])
    found = Statistics(row[0].tolist(), 2, factor=0.5)
    made = found.histogram()
    assert made is not None
    assert (made["bins"][0], made["bins"][-1]) == (-1.0, 2.0)
    assert math.isclose(found.norm, math.sqrt(20) / 2, rel_tol=1e-6)
