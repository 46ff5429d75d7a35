"""A training script with W&B's callbacks for Keras, as its users write it."""

from __future__ import annotations

import importlib.util

import pytest
from support.logged import Logged
from support.up import Up
from support.wandb_artifacts import hashes_below, logged_artifacts
from support.wandb_scripts import run_wandb

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        importlib.util.find_spec("tensorflow") is None,
        reason="needs the extra `frameworks` (`make test-all` installs it)",
    ),
]

CODE = """
import numpy as np
import tensorflow as tf
import wandb
from wandb.integration.keras import WandbEvalCallback, WandbMetricsLogger, WandbModelCheckpoint

class Guesses(WandbEvalCallback):
    def add_ground_truth(self, logs=None):
        for row, target in zip(x[:4], y[:4]):
            self.data_table.add_data(float(row[0]), float(target[0]))

    def add_model_predictions(self, epoch, logs=None):
        table = self.data_table_ref
        for index, guess in zip(table.get_index(), self.model.predict(x[:4], verbose=0)):
            self.pred_table.add_data(
                epoch, table.data[index][0], table.data[index][1], float(guess[0]))

run = wandb.init(project="keras", id="k1", config={"units": 4})
tf.keras.utils.set_random_seed(0)
x, y = np.random.rand(64, 3).astype("f4"), np.random.rand(64, 1).astype("f4")
model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(4), tf.keras.layers.Dense(1)])
model.compile("adam", "mse", metrics=["mae"])
model.fit(
    x, y, batch_size=16, epochs=3, validation_split=0.25, verbose=0,
    callbacks=[
        WandbMetricsLogger(log_freq=1),
        WandbModelCheckpoint("models/{epoch:02d}.keras"),
        Guesses(["x", "y"], ["epoch", "x", "y", "guess"]),
    ])
run.finish()
"""


def test_callbacks(up: Up) -> None:
    ended = run_wandb(
        up, CODE, timeout_s=300, CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3"
    ).check()
    logged = Logged(up, "keras", "k1")
    fields = logged.fields()
    assert fields["state"] == "finished"
    assert fields["config"]["units"] == 4
    assert logged.column("batch/batch_step") == list(range(len(logged.column("batch/loss"))))
    assert len(logged.column("batch/loss")) == 9
    assert logged.column("epoch/epoch") == [0, 1, 2]
    assert len(logged.column("epoch/val_mae")) == 3
    artifacts = logged_artifacts(up, "local/keras/k1")
    models = [files for _, kind, files in artifacts if kind == "model"]
    assert len(models) == 3
    kept = {hash_ for files in models for hash_ in files.values()}
    assert kept == hashes_below(ended.folder / "models")
