"""`watch`: what it logs, at which passes, and that it neither breaks nor outlives anything."""

from __future__ import annotations

import copy
import gc
import importlib
import io
import itertools
import math
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
from support.logged_values import check_histogram
from support.watched import WatchedRun

from penstock.notices import NOTICES
from penstock.settings import Settings
from penstock.values import statistics
from penstock.watching import watched_model
from penstock.watching.gradient_scale import SCALES
from penstock.watching.watch import unwatch, watch

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def torch() -> Any:
    """Imported at first use: that takes seconds, and only one of the test processes needs it."""
    return importlib.import_module("torch")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(NOTICES, "counts", {})
    run = WatchedRun(tmp_path)
    yield run
    unwatch(run)


def model_of(*sizes: int) -> Any:
    torch().manual_seed(0)
    layers = [torch().nn.Linear(*pair) for pair in itertools.pairwise(sizes)]
    return torch().nn.Sequential(*layers)


def back(model: Any, scale: float = 1.0) -> None:
    """One backward pass, always with the same gradients."""
    inputs = torch().linspace(-1, 1, 3 * model[0].in_features).reshape(3, -1)
    (model(inputs).square().mean() * scale).backward()


def is_hooked(model: Any) -> bool:
    return any(each._post_accumulate_grad_hooks for each in model.parameters())


def warnings() -> str:
    return " ".join(NOTICES.counts)


def test_gradients_and_parameters_are_measured(run: Any) -> None:
    model = model_of(4, 5, 2)
    watch(run, model, log="all", log_freq=1)
    back(model)
    found = run.values()
    squares = {"grad": 0.0, "param": 0.0}
    for name, parameter in model.named_parameters():
        for family, one, tensor in (
            ("gradients", "grad", parameter.grad), ("parameters", "param", parameter.detach()),
        ):  # fmt: skip
            made = found[f"{family}/{name}"]
            check_histogram(made, tensor.numel())
            assert math.isclose(made["bins"][0], tensor.min().item(), rel_tol=1e-6)
            assert math.isclose(made["bins"][-1], tensor.max().item(), rel_tol=1e-6)
            norm = tensor.norm().item()
            assert math.isclose(found[f"{one}_norm/{name}"], norm, rel_tol=1e-5)
            squares[one] += norm**2
    for one, total in squares.items():
        assert math.isclose(found[f"{one}_norm/total"], math.sqrt(total), rel_tol=1e-5)
        assert found[f"{one}_nonfinite/total"] == 0


@pytest.mark.parametrize("log", ["gradients", "parameters", None])
def test_only_what_is_wanted_is_measured(run: Any, log: str | None) -> None:
    model = model_of(4, 2)
    watch(run, model, log=log, log_freq=1)
    back(model)
    found = {key.partition("/")[0] for key in run.values()}
    prefixes = {"gradients": "grad", "parameters": "param"}
    assert found == ({log, f"{prefixes[log]}_norm", f"{prefixes[log]}_nonfinite"} if log else set())
    assert is_hooked(model) == (log is not None)


def test_values_have_the_step_of_the_row_that_follows(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=3)
    for number in range(7):
        back(model)
        run.log({"loss": float(number)})
    assert run.histograms("gradients/0.weight") == [2, 5]
    assert [*run.series("loss")] == [*range(7)]


def test_accumulated_gradients_are_measured_when_complete(run: Any) -> None:
    model = model_of(4, 2)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=5)  # at the next pass that completes a step's gradients
    norms = []
    for _ in range(4):
        optimizer.zero_grad()
        for _ in range(4):
            back(model)
        norms.append(model[0].weight.grad.norm().item())
        # Clipping comes afterwards: the chart shows the norm before it.
        torch().nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        optimizer.step()
        run.log({"loss": 0.0})
    found = run.series("grad_norm/0.weight")
    assert found == pytest.approx({1: norms[1], 3: norms[3]})


def test_fewer_passes_than_usual_are_measured_at_the_step(run: Any) -> None:
    model = model_of(4, 2)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    for passes in (3, 3, 1):
        optimizer.zero_grad()
        for _ in range(passes):
            back(model)
        optimizer.step()
        run.log({"loss": 0.0})
    assert sorted(run.series("grad_norm/total")) == [0, 1, 2]


def test_an_optimizer_may_call_the_pass(run: Any) -> None:
    model = model_of(4, 2)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)

    def closure() -> float:
        optimizer.zero_grad()
        back(model)
        return 0.0

    for _ in range(3):
        optimizer.step(closure)
        run.log({"loss": 0.0})
    assert sorted(run.series("grad_norm/total")) == [0, 1, 2]


def test_several_optimizers_of_a_model_are_one_step(run: Any) -> None:
    model = model_of(4, 4, 2)
    optimizers = [torch().optim.SGD(layer.parameters(), lr=0.0) for layer in model]
    watch(run, model, log_freq=2)
    for _ in range(4):
        back(model)
        for optimizer in optimizers:
            optimizer.step()
        run.log({"loss": 0.0})
    assert sorted(run.series("grad_norm/total")) == [1, 3]


def test_passes_that_no_hook_sees_are_measured_at_the_step(run: Any) -> None:
    model = model_of(4, 2)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    for parameter in model.parameters():  # as FSDP's original parameters
        parameter._post_accumulate_grad_hooks.clear()
        parameter.requires_grad = False
    for number in range(4):
        for parameter in model.parameters():
            parameter.grad = torch().full_like(parameter, number)
        optimizer.step()
        run.log({"loss": 0.0})
    assert sorted(run.series("grad_norm/total"))[-2:] == [2, 3]


def test_the_scale_of_mixed_precision_is_taken_out(run: Any) -> None:
    model = model_of(4, 2)
    back(model)
    norm = model[0].weight.grad.norm().item()
    low = model[0].weight.grad.min().item()
    original = torch().amp.GradScaler.scale
    scaler = torch().amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(model(torch().linspace(-1, 1, 12).reshape(3, 4)).square().mean()).backward()
        assert math.isclose(model[0].weight.grad.norm().item(), 1024 * norm, rel_tol=1e-4)
        scaler.step(optimizer)
        scaler.update()
    optimizer.zero_grad()
    back(model)
    run.log({"loss": 0.0})
    found = run.values()
    assert math.isclose(found["grad_norm/0.weight"], norm, rel_tol=1e-4)
    unwatch(run)
    assert torch().amp.GradScaler.scale is original

    watch(run, model, log_freq=1)
    optimizer.zero_grad()
    scaler.scale(model(torch().linspace(-1, 1, 12).reshape(3, 4)).square().mean()).backward()
    found = run.values()
    assert math.isclose(found["grad_norm/0.weight"], norm, rel_tol=1e-4)
    assert math.isclose(found["gradients/0.weight"]["bins"][0], low, rel_tol=1e-4)


def test_what_is_not_finite_is_shown(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    handle = model[0].bias.register_hook(lambda grad: grad * math.inf)
    back(model)
    found = run.values()
    assert found["grad_nonfinite/0.bias"] == 2
    assert found["grad_nonfinite/total"] == 2
    assert found["grad_norm/total"] == math.inf
    assert "gradients/0.bias" not in found
    assert "grad_nonfinite/0.weight" not in found
    check_histogram(found["gradients/0.weight"], 8)
    handle.remove()


def test_sparse_shared_frozen_and_empty_parameters(run: Any) -> None:
    nn = torch().nn
    model = nn.ModuleDict(
        {
            "embedding": nn.Embedding(50, 4, sparse=True),
            "first": nn.Linear(4, 4),
            "same": nn.Linear(4, 4),
            "frozen": nn.Linear(4, 4),
            "meta": nn.Linear(4, 4, device="meta"),
        }
    )
    model["same"].weight = model["first"].weight
    model["frozen"].requires_grad_(False)
    model["none"] = nn.ParameterList([nn.Parameter(torch().empty(0))])
    watch(run, model, log="all", log_freq=1)
    out = model["embedding"](torch().tensor([1, 1, 2]))
    for name in ("first", "same", "frozen"):
        out = model[name](out)
    out.sum().backward()
    found = run.values()
    sparse = model["embedding"].weight.grad.coalesce()
    made = found["gradients/embedding.weight"]
    check_histogram(made, 200)
    assert math.isclose(
        found["grad_norm/embedding.weight"], sparse.values().norm().item(), rel_tol=1e-5
    )
    assert "gradients/first.weight" in found
    assert "gradients/same.weight" not in found  # the same one
    assert "parameters/frozen.weight" in found
    assert "gradients/frozen.weight" not in found
    assert not any("meta" in key or "none" in key for key in found)
    assert "left out" not in warnings()


def test_packed_and_quantised_parameters(run: Any) -> None:
    model = model_of(4, 2)
    packed = torch().zeros(3, 3, dtype=torch().uint8)
    model.register_parameter("packed", torch().nn.Parameter(packed, requires_grad=False))
    quantised = torch().quantize_per_tensor(torch().ones(6), 0.5, 0, torch().quint8)
    model.register_parameter("coded", torch().nn.Parameter(quantised, requires_grad=False))
    watch(run, model, log="parameters", log_freq=1)
    back(model)
    found = run.values()
    check_histogram(found["parameters/coded"], 6)
    assert "parameters/packed" not in found


def test_a_watched_model_is_copied_and_saved(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log="all", log_freq=1)
    back(model)
    copied = copy.deepcopy(model)
    unpickled = pickle.loads(pickle.dumps(model))  # noqa: S301  (its own)
    file = io.BytesIO()
    torch().save(model, file)
    file.seek(0)
    loaded = torch().load(file, weights_only=False)
    run.log({"loss": 0.0})
    before = run.histograms("gradients/0.weight")
    for other in (copied, unpickled, loaded):
        assert not is_hooked(other)
        back(other)
    assert run.histograms("gradients/0.weight") == before
    assert is_hooked(model)


def test_unwatch_leaves_no_hooks(run: Any) -> None:
    optimizers = importlib.import_module("torch.optim.optimizer")
    before = len(optimizers._global_optimizer_post_hooks)
    scale = torch().amp.GradScaler.scale
    first, second = model_of(4, 2), model_of(3, 2)
    watch(run, [first, second])
    assert is_hooked(first)
    assert is_hooked(second)
    unwatch(run, first)
    assert not is_hooked(first)
    assert is_hooked(second)
    unwatch(run)
    assert not is_hooked(second)
    assert len(optimizers._global_optimizer_post_hooks) == before
    assert torch().amp.GradScaler.scale is scale
    assert SCALES._listeners == 0


def test_a_finished_run_lets_go(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    back(model)
    run.finished = True
    for _ in range(2):
        back(model)
    assert not is_hooked(model)


def test_a_model_is_not_kept_alive(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    kept = [*model.parameters()]
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert not any(each._post_accumulate_grad_hooks for each in kept)
    assert SCALES._listeners == 0


def test_names_of_several_models(run: Any) -> None:
    models = [model_of(4, 2), model_of(4, 2)]
    watch(run, models, log_freq=1)
    third = model_of(4, 2)
    watch(run, third, log_freq=1)
    fourth = model_of(4, 2)
    watch(run, fourth, log_freq=1, idx=9)
    for model in (*models, third, fourth):
        back(model)
    found = run.values()
    for prefix in ("", "graph_1", "graph_2", "graph_9"):
        assert f"gradients/{prefix}0.weight" in found
    for total in ("total", "graph_1.total", "graph_2.total", "graph_9.total"):
        assert f"grad_norm/{total}" in found


def test_watching_twice_is_watching_anew(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    watch(run, model, log="parameters", log_freq=1)
    back(model)
    assert {key for key in run.values() if key.endswith("0.weight")} == {
        "parameters/0.weight",
        "param_norm/0.weight",
    }


def test_nothing_raises_into_a_pass(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **named: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(watched_model, "measured", fail)
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    back(model)
    assert NOTICES.counts["watch"] == 1
    assert not is_hooked(model)
    back(model)
    assert NOTICES.counts["watch"] == 1


def test_one_odd_tensor_costs_only_itself(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = statistics._on_cpu

    def fail(torch: Any, flat: Any, row: Any, zeros: int) -> None:
        row[0] = 7.0
        if flat.numel() == 8:
            raise RuntimeError("broken")
        counted(torch, flat, row, zeros)

    monkeypatch.setattr(statistics, "_on_cpu", fail)
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    for _ in range(2):
        back(model)
        run.log({"loss": 0.0})
    found = run.values()
    assert "gradients/0.weight" not in found
    check_histogram(found["gradients/0.bias"], 2)
    assert NOTICES.counts["watch left out"] == 1
    assert run.histograms("gradients/0.bias") == [0, 1]


def test_what_cannot_be_watched_is_said_once(run: Any) -> None:
    model = model_of(4, 2)
    watch(None, model)
    watch(run, object())
    watch(run, model, log="everything")
    watch(run, model, log_freq=0)
    assert not is_hooked(model)
    assert len(NOTICES.counts) == 4
    run.disabled = True
    watch(run, model)
    assert not is_hooked(model)
    run.disabled, run.settings = False, Settings(strict=True)
    with pytest.raises(ValueError, match="'gradients', 'parameters', 'all' or None"):
        watch(run, model, log="everything")
    with pytest.raises(TypeError, match="only PyTorch models"):
        watch(run, "a model")


def test_a_frozen_model_may_be_thawed(run: Any) -> None:
    model = model_of(4, 2).requires_grad_(False)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    assert "watch frozen" in NOTICES.counts
    model.requires_grad_(True)
    for _ in range(4):
        back(model)
        optimizer.step()
        run.log({"loss": 0.0})
    assert 3 in run.series("grad_norm/total")
    assert is_hooked(model)


def test_checkpointed_layers(run: Any) -> None:
    checkpoint = importlib.import_module("torch.utils.checkpoint").checkpoint
    model = model_of(4, 4, 4)
    optimizer = torch().optim.SGD(model.parameters(), lr=0.0)
    watch(run, model, log_freq=1)
    for _ in range(3):
        optimizer.zero_grad()
        inputs = torch().ones(3, 4, requires_grad=True)
        hidden = checkpoint(model[0], inputs, use_reentrant=True)
        checkpoint(model[1], hidden, use_reentrant=True).sum().backward()
        optimizer.step()
        run.log({"loss": 0.0})
    norms = {name: each.grad.norm().item() for name, each in model.named_parameters()}
    found = run.values()
    for name, norm in norms.items():
        assert math.isclose(found[f"grad_norm/{name}"], norm, rel_tol=1e-5)


def test_gradients_that_are_not_accumulated_are_no_pass(run: Any) -> None:
    model = model_of(4, 2)
    watch(run, model, log_freq=1)
    loss = model(torch().ones(3, 4)).sum()
    torch().autograd.grad(loss, [*model.parameters()], create_graph=True)
    assert run.values() == {}
