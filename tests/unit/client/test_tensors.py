"""Values of PyTorch: every tensor becomes a histogram, and an odd one costs only itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.logged_values import LoggedValues, check_histogram

# Torch warns of formats that it calls young.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def torch() -> Any:
    """Imported at first use: that takes seconds, and only one of the test processes needs it."""
    return importlib.import_module("torch")


@pytest.fixture
def logged(tmp_path: Path) -> LoggedValues:
    return LoggedValues(tmp_path)


@pytest.mark.heavy
@pytest.mark.smoke
def test_what_is_no_array_is_kept_as_what_it_is(logged: LoggedValues) -> None:
    scalar = torch().tensor(0.5, requires_grad=True)
    logged.writer.log({"scalar": scalar, "type": torch().float32, "size": torch().Size([2])})
    assert logged.values() == {"scalar": 0.5, "type": "torch.float32", "size": [2]}
    assert logged.writer.dropped_rows == 0


TENSORS: dict[str, tuple[Callable[[], Any], int]] = {
    "tensor": (lambda: torch().randn(20), 20),
    "parameter": (lambda: torch().nn.Parameter(torch().randn(20)), 20),
    "large tensor": (lambda: torch().zeros(1 << 21), 1 << 21),
    "half tensor": (lambda: torch().randn(20).bfloat16(), 20),
    "float8 tensor": (lambda: torch().randn(20).to(torch().float8_e4m3fn), 20),
    "bool tensor": (lambda: torch().ones(5, dtype=torch().bool), 5),
    "coo": (lambda: torch().eye(40).to_sparse(), 1_600),
    "uncoalesced": (
        lambda: torch().sparse_coo_tensor(torch().zeros(1, 2), torch().ones(2), (5,)),
        5,
    ),
    "csr": (lambda: torch().eye(40).to_sparse_csr(), 1_600),
    "nested tensor": (lambda: torch().nested.nested_tensor([torch().rand(2), torch().rand(3)]), 5),
    "conjugate": (lambda: torch().zeros(4, dtype=torch().complex64).conj(), 4),
    "negative view": (lambda: torch().zeros(4, dtype=torch().complex64).conj().imag, 4),
}


@pytest.mark.parametrize("name", TENSORS)
def test_every_tensor_becomes_a_histogram(logged: LoggedValues, name: str) -> None:
    make, elements = TENSORS[name]
    logged.writer.log({"tensor": make(), "loss": 0.5})
    found = logged.values()
    assert found["loss"] == 0.5
    check_histogram(found["tensor"], elements)


def test_a_tensor_is_logged_as_it_was(logged: LoggedValues) -> None:
    tensor = torch().ones(100)
    logged.writer.log({"tensor": tensor})
    tensor[:] = 7.0
    assert max(logged.values()["tensor"]["bins"]) < 2


def test_one_odd_tensor_costs_only_itself(logged: LoggedValues) -> None:
    model = torch().nn.ModuleDict(
        {"e": torch().nn.Embedding(10, 4, sparse=True), "l": torch().nn.Linear(4, 2)}
    )
    model["l"](model["e"](torch().arange(5))).sum().backward()
    grads = {f"grad/{name}": parameter.grad for name, parameter in model.named_parameters()}
    logged.writer.log({**grads, "meta": torch().zeros(3, device="meta"), "loss": 1.0})
    found = logged.values()
    assert {key: sum(found[key]["values"]) for key in grads} == {
        "grad/e.weight": 40,
        "grad/l.weight": 8,
        "grad/l.bias": 2,
    }
    assert (found["meta"], found["loss"]) == ("<Tensor>", 1.0)
    assert "meta" in logged.notices()["meta"]
