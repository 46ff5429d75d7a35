"""`penstock demo`: a small sweep of real training runs.

Each run is a process of its own, as in a real sweep: a two-layer network in numpy on scikit-learn's
handwritten digits, with its own learning rate and width. Steps are paced so that you can watch.
"""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import penstock
from penstock.errors import PenstockError
from penstock.names import friendly_name
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["Trial", "run_demo", "train"]

_RATES = (0.05, 0.2, 0.5)
_WIDTHS = (16, 64)
_BATCH = 64
_VALIDATE_EVERY = 25


@dataclass(frozen=True)
class Trial:
    """One run of the sweep. `seconds` is the time over which its steps are spread."""

    project: str
    group: str
    rate: float
    width: int
    steps: int
    seconds: float
    seed: int


def run_demo(*, runs: int, steps: int, seconds: float, project: str) -> int:
    """Train `runs` models at once; returns the exit status. Raises PenstockError without
    scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        raise PenstockError("the demo needs scikit-learn: pip install 'penstock[demo]'")
    group = friendly_name()
    pairs = list(itertools.product(_RATES, _WIDTHS))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=train, args=(Trial(project, group, *pair, steps, seconds, seed),))
        for seed, pair in enumerate(itertools.islice(itertools.cycle(pairs), runs))
    ]
    base_url = Settings.resolve(None, {}).base_url
    NOTICES.say(f"{runs} runs of the sweep {group} are training; watch them at {base_url}/")
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return int(any(process.exitcode for process in processes))


def train(trial: Trial) -> None:
    """Train one model and log it."""
    import numpy as np  # noqa: PLC0415  (heavy; only the demo trains)

    rng = np.random.default_rng(trial.seed)
    (inputs, labels), held_out = _digits(rng)
    network = _Network(rng, inputs.shape[1], trial.width)
    config = {"lr": trial.rate, "hidden": trial.width, "batch": _BATCH, "seed": trial.seed}
    with penstock.init(project=trial.project, group=trial.group, config=config) as run:
        begun = time.monotonic()
        for step in range(trial.steps):
            chosen = rng.integers(0, len(inputs), _BATCH)
            since = time.perf_counter()
            row = network.learn(inputs[chosen], labels[chosen], trial.rate)
            row["train/step_ms"] = (time.perf_counter() - since) * 1e3
            if step % _VALIDATE_EVERY == 0 or step == trial.steps - 1:
                row["val/loss"], row["val/acc"] = network.judge(*held_out)
            run.log(row, step=step)
            due = begun + trial.seconds * (step + 1) / trial.steps
            time.sleep(max(0.0, due - time.monotonic()))


def _digits(rng: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Images of the digits 0 to 9 and their labels: for training, and held out."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (heavy, and optional)

    inputs, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(inputs))
    inputs, labels = inputs[order] / 16.0, labels[order]
    held_out = len(inputs) // 5
    return (inputs[held_out:], labels[held_out:]), (inputs[:held_out], labels[:held_out])


class _Network:
    """inputs → ReLU → softmax, with plain gradient descent."""

    def __init__(self, rng: Any, inputs: int, width: int, classes: int = 10) -> None:
        self._first = rng.normal(0, (2 / inputs) ** 0.5, (inputs, width))
        self._second = rng.normal(0, (2 / width) ** 0.5, (width, classes))

    def learn(self, inputs: Any, labels: Any, rate: float) -> dict[str, float]:
        """One step; returns its metrics."""
        import numpy as np  # noqa: PLC0415

        hidden = np.maximum(inputs @ self._first, 0)
        probabilities, loss, accuracy = self._outcome(hidden, labels)
        error = probabilities
        error[np.arange(len(labels)), labels] -= 1
        error /= len(labels)
        second = hidden.T @ error
        first = inputs.T @ ((error @ self._second.T) * (hidden > 0))
        self._first -= rate * first
        self._second -= rate * second
        return {
            "train/loss": loss,
            "train/acc": accuracy,
            "grad/first": float(np.linalg.norm(first)),
            "grad/second": float(np.linalg.norm(second)),
        }

    def judge(self, inputs: Any, labels: Any) -> tuple[float, float]:
        """Loss and accuracy on held-out data."""
        import numpy as np  # noqa: PLC0415

        _, loss, accuracy = self._outcome(np.maximum(inputs @ self._first, 0), labels)
        return loss, accuracy

    def _outcome(self, hidden: Any, labels: Any) -> tuple[Any, float, float]:
        import numpy as np  # noqa: PLC0415

        scores = hidden @ self._second
        scores -= scores.max(axis=1, keepdims=True)
        probabilities = np.exp(scores)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        loss = -np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean()
        accuracy = (probabilities.argmax(axis=1) == labels).mean()
        return probabilities, float(loss), float(accuracy)
