"""`penstock demo`: a small sweep of real training runs.

Each run is a process of its own, as in a real sweep: a two-layer network in numpy that learns to read
drawn digits, with its own learning rate and width. Steps are paced so that you can watch.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import penstock
from penstock.names import friendly_name
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["Trial", "run_demo", "train"]

_RATES = (0.05, 0.2, 0.5)
_WIDTHS = (16, 64)
_BATCH = 64
_VALIDATE_EVERY = 25
_IMAGES, _NOISE = 2_000, 0.15

# The rows and columns of each segment, and the segments of each digit.
_SEGMENTS = {
    "top": ((1, 2), (2, 6)), "middle": ((3, 4), (2, 6)), "bottom": ((6, 7), (2, 6)),
    "left": ((1, 4), (2, 3)), "right": ((1, 4), (5, 6)),
    "lower left": ((3, 7), (2, 3)), "lower right": ((3, 7), (5, 6)),
}  # fmt: skip
_LIT = (
    ("top", "bottom", "left", "right", "lower left", "lower right"),
    ("right", "lower right"),
    ("top", "right", "middle", "lower left", "bottom"),
    ("top", "right", "middle", "lower right", "bottom"),
    ("left", "middle", "right", "lower right"),
    ("top", "left", "middle", "lower right", "bottom"),
    ("top", "left", "middle", "lower left", "lower right", "bottom"),
    ("top", "right", "lower right"),
    ("top", "left", "right", "middle", "lower left", "lower right", "bottom"),
    ("top", "left", "right", "middle", "lower right", "bottom"),
)


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
    """Train `runs` models at once; returns the exit status."""
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
    """Drawn images of 8 x 8 pixels of the digits 0 to 9, as on a clock, shifted and with noise, and their
    labels: for training, and held out."""
    import numpy as np  # noqa: PLC0415

    shapes = np.zeros((10, 8, 8))
    for digit, lit in enumerate(_LIT):
        for segment in lit:
            rows, columns = _SEGMENTS[segment]
            shapes[digit, slice(*rows), slice(*columns)] = 1
    labels = rng.integers(0, 10, _IMAGES)
    down, right = rng.integers(-1, 2, (2, _IMAGES))
    images = np.stack(
        [
            np.roll(shapes[label], shift, (0, 1))
            for label, *shift in zip(labels, down, right, strict=True)
        ]
    )
    images += rng.normal(0, _NOISE, images.shape)
    inputs, held_out = images.reshape(_IMAGES, -1), _IMAGES // 5
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
