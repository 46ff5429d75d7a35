"""A training script with Transformers' `Trainer(report_to="wandb")`, as its users write it."""

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
        not all(map(importlib.util.find_spec, ("transformers", "accelerate"))),
        reason="needs the extra `frameworks` (`make test-all` installs it)",
    ),
]

CODE = """
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

torch.manual_seed(0)
config = BertConfig(
    vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=16, max_position_embeddings=16)

def rows(count):
    return [
        {"input_ids": torch.randint(0, 50, (8,)), "attention_mask": torch.ones(8, dtype=torch.long),
         "labels": torch.tensor(i % 2)}
        for i in range(count)
    ]

arguments = TrainingArguments(
    output_dir="out", report_to="wandb", run_name="a-bert", logging_steps=20, num_train_epochs=6,
    per_device_train_batch_size=4, eval_strategy="epoch", save_strategy="epoch", use_cpu=True)
trainer = Trainer(
    model=BertForSequenceClassification(config), args=arguments, train_dataset=rows(80),
    eval_dataset=rows(16))
trainer.train()
print("global step", trainer.state.global_step)
"""


def test_trainer(up: Up) -> None:
    ended = run_wandb(
        up, CODE, timeout_s=300, WANDB_PROJECT="transformers", WANDB_RUN_ID="t1",
        WANDB_LOG_MODEL="end", WANDB_WATCH="all", TOKENIZERS_PARALLELISM="false",
    ).check()  # fmt: skip
    logged = Logged(up, "transformers", "t1")
    fields = logged.fields()
    assert fields["state"] == "finished"
    assert fields["name"] == "a-bert"
    assert fields["config"]["hidden_size"] == 16
    assert fields["config"]["per_device_train_batch_size"] == 4
    assert [
        row["train/global_step"] for row in logged.history(keys="train/loss,train/global_step")
    ] == list(range(20, 121, 20))
    assert len(logged.column("train/loss")) == 6
    assert len(logged.column("eval/loss")) == 6
    rules = fields["info"]["define_metric"]
    assert any(rule.get("step_metric") == "train/global_step" for rule in rules.values())
    # The integration watches every hundredth step at most.
    assert any(key.startswith("gradients/") for row in logged.history() for key in row)
    models = [each for each in logged_artifacts(up, "local/transformers/t1") if each[1] == "model"]
    assert len(models) == 2  # the model at the start, and the trained one at the end
    trained = hashes_below(ended.folder / "out")
    weights = {
        value for _, _, files in models for name, value in files.items() if "safetensors" in name
    }
    assert weights & trained
