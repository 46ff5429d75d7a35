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
    "jagged": (
        lambda: torch().nested.nested_tensor(
            [torch().rand(2), torch().rand(3)], layout=torch().jagged
        ),
        5,
    ),
    "quantised": (
        lambda: torch().quantize_per_tensor(torch().ones(6), 0.5, 0, torch().quint8),
        6,
    ),
    "mkldnn": (lambda: torch().ones(4).to_mkldnn(), 4),
    "with a gradient": (lambda: torch().randn(20, requires_grad=True) * 2, 20),
    "negative view": (lambda: torch().zeros(4, dtype=torch().complex64).conj().imag, 4),
}


@pytest.mark.parametrize("name", TENSORS)
def test_every_tensor_becomes_a_histogram(logged: LoggedValues, name: str) -> None:
    make, elements = TENSORS[name]
    logged.writer.log({"tensor": make(), "loss": 0.5})
    found = logged.values()
    assert found["loss"] == 0.5
    check_histogram(found["tensor"], elements)


CHANGED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "dense": (lambda: torch().ones(100), lambda tensor: tensor),
    "parameter": (lambda: torch().nn.Parameter(torch().ones(9)), lambda tensor: tensor.data),
    "one element": (lambda: torch().ones(1), lambda tensor: tensor),
    "coo": (lambda: torch().ones(5, 5).to_sparse(), lambda tensor: tensor._values()),
    "csr": (lambda: torch().ones(5, 5).to_sparse_csr(), lambda tensor: tensor.values()),
    "nested": (
        lambda: torch().nested.nested_tensor([torch().ones(2), torch().ones(3)]),
        lambda tensor: tensor,
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_tensor_is_logged_as_it_was(logged: LoggedValues, name: str) -> None:
    make, data_of = CHANGED[name]
    tensor = make()
    logged.writer.log({"tensor": tensor})
    data_of(tensor).fill_(7.0)
    found = logged.values()["tensor"]
    assert found == 1.0 or max(found["bins"]) < 2


def test_the_default_device_is_not_asked(logged: LoggedValues) -> None:
    torch().set_default_device("meta")
    try:
        logged.writer.log({"tensor": torch().ones(9, device="cpu")})
        check_histogram(logged.values()["tensor"], 9)
    finally:
        torch().set_default_device(None)


def test_a_tensor_within_a_transformation(logged: LoggedValues) -> None:
    def loss(inputs: Any) -> Any:
        logged.writer.log({"inputs": inputs, "loss": inputs.sum()})
        return inputs.sum()

    torch().func.grad(loss)(torch().ones(3))
    found = logged.values()
    assert found["loss"] == 3.0
    check_histogram(found["inputs"], 3)


@pytest.mark.heavy
def test_a_part_of_a_distributed_tensor(logged: LoggedValues) -> None:
    distributed = importlib.import_module("torch.distributed")
    tensors = importlib.import_module("torch.distributed.tensor")
    distributed.init_process_group("fake", rank=1, world_size=4, store=distributed.HashStore())
    try:
        mesh = tensors.init_device_mesh("cpu", (4,))
        part = tensors.DTensor.from_local(torch().ones(5), mesh, [tensors.Shard(0)])
        whole = tensors.DTensor.from_local(
            torch().tensor(2.5), mesh, [tensors.Replicate()], run_check=False
        )
        logged.writer.log({"part": part, "whole": whole})
        part.to_local().fill_(7.0)
        found = logged.values()
    finally:
        distributed.destroy_process_group()
    assert found["whole"] == 2.5
    check_histogram(found["part"], 5)
    assert max(found["part"]["bins"]) < 2
    notices = logged.notices()
    assert "only the part that this process has" in notices["part"]
    assert "whole" not in notices


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
