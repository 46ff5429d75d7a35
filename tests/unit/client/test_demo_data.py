"""What `penstock demo` trains on."""

from __future__ import annotations

import numpy as np

from penstock.commands.demo import _digits, _Network


def test_the_digits_can_be_learned() -> None:
    rng = np.random.default_rng(1)
    (inputs, labels), held_out = _digits(rng)
    assert inputs.shape[1] == 64
    assert set(labels) == set(range(10))
    network = _Network(rng, 64, 64)
    before = network.judge(*held_out)
    for _ in range(600):
        chosen = rng.integers(0, len(inputs), 64)
        network.learn(inputs[chosen], labels[chosen], 0.2)
    loss, accuracy = network.judge(*held_out)
    assert loss < before[0] / 2
    assert 0.7 < accuracy < 1.0  # noise keeps it from being perfect, as in real life
