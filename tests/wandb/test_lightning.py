"""A training script with Lightning's `WandbLogger`, as its users write it."""

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
        importlib.util.find_spec("lightning") is None,
        reason="needs the extra `frameworks` (`make test-all` installs it)",
    ),
]

CODE = """
import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import WandbLogger

class Model(L.LightningModule):
    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch, _):
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", (self.layer(batch[0]) - batch[1]).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

torch.manual_seed(0)
data = torch.utils.data.TensorDataset(torch.randn(64, 8), torch.randn(64, 1))
loader = torch.utils.data.DataLoader(data, batch_size=8)
logger = WandbLogger(project="lightning", id="l1", name="a line", log_model=True)
model = Model()
logger.watch(model, log="all", log_freq=4)
trainer = L.Trainer(
    max_epochs=3, logger=logger, log_every_n_steps=2, accelerator="cpu", enable_progress_bar=False,
    callbacks=[ModelCheckpoint(monitor="val_loss")])
trainer.fit(model, loader, loader)
logger.log_table("guesses", columns=["x", "y"], data=[[1, 2.5], [3, None]])
logger.experiment.finish()
"""


def test_logger(up: Up) -> None:
    ended = run_wandb(up, CODE, timeout_s=300).check()
    logged = Logged(up, "lightning", "l1")
    fields = logged.fields()
    assert fields["state"] == "finished"
    assert fields["name"] == "a line"
    assert fields["config"]["width"] == 4
    assert [
        row["trainer/global_step"] for row in logged.history(keys="train_loss,trainer/global_step")
    ] == list(range(1, 24, 2))
    assert len(logged.column("train_loss")) == 12
    assert len(logged.column("val_loss")) == 3
    assert any(key.startswith("gradients/layer") for row in logged.history() for key in row)
    [table] = logged.column("guesses")
    assert (table["_type"], table["nrows"], table["ncols"]) == ("table-file", 2, 2)
    checkpoints = [
        each for each in logged_artifacts(up, "local/lightning/l1") if each[1] == "model"
    ]
    assert [name for name, _, _ in checkpoints] == ["model-l1:v0"]
    [(_, _, files)] = checkpoints
    assert list(files) == ["model.ckpt"]
    assert set(files.values()) <= hashes_below(ended.folder / "lightning")
