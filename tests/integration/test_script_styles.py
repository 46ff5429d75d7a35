"""Scripts in the styles that people write, for wandb, with nothing but the import changed: each ends with its rows on
the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ledger import Ledger
from support.scripts import Scripts
from support.spools import wait_until

import penstock

GPT = """
# A training script with globals for its settings, and an optional logger.
import math, os, time
import torch

out_dir = "out"
eval_interval = 5
log_interval = 1
wandb_log = True
wandb_project = "owt"
wandb_run_name = "gpt-tiny"
block_size = 8
learning_rate = 6e-4
max_iters = 20
device = "cpu"
config_keys = [k for k, v in globals().items() if not k.startswith("_") and isinstance(v, (int, float, bool, str))]
config = {k: globals()[k] for k in config_keys}

ddp = int(os.environ.get("RANK", -1)) != -1
master_process = not ddp or int(os.environ["RANK"]) == 0
torch.manual_seed(1337)
model = torch.nn.Sequential(torch.nn.Embedding(16, 8), torch.nn.Linear(8, 16))
optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
def get_batch():
    x = torch.randint(0, 16, (4, block_size))
    return x, (x + 1) % 16
def get_lr(it):
    return learning_rate * 0.5 * (1 + math.cos(math.pi * it / max_iters))
@torch.no_grad()
def estimate_loss():
    out = {}
    for split in ("train", "val"):
        losses = torch.zeros(3)
        for k in range(3):
            x, y = get_batch()
            losses[k] = torch.nn.functional.cross_entropy(model(x).view(-1, 16), y.view(-1))
        out[split] = losses.mean()
    return out
if wandb_log and master_process:
    import penstock as wandb
    wandb.init(project=wandb_project, name=wandb_run_name, config=config)
iter_num, running_mfu, t0 = 0, -1.0, time.time()
while True:
    lr = get_lr(iter_num)
    for group in optimizer.param_groups: group["lr"] = lr
    if iter_num % eval_interval == 0 and master_process:
        losses = estimate_loss()
        if wandb_log:
            wandb.log({
                "iter": iter_num,
                "train/loss": losses["train"],
                "val/loss": losses["val"],
                "lr": lr,
                "mfu": running_mfu * 100,
            })
    x, y = get_batch()
    loss = torch.nn.functional.cross_entropy(model(x).view(-1, 16), y.view(-1))
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    iter_num += 1
    if iter_num > max_iters: break
"""

DETECTOR = """
# Callbacks of a trainer, which import the logger if it is there.
import types
import penstock as wb
_processed_plots = {}
def on_pretrain_routine_start(trainer):
    if not wb.run:
        wb.run or wb.init(project=str(trainer.args.project).replace("/", "-") if trainer.args.project else "YOLO",
                          name=str(trainer.args.name).replace("/", "-"), config=vars(trainer.args))
def on_fit_epoch_end(trainer):
    wb.run.log(trainer.metrics, step=trainer.epoch + 1)
    if trainer.epoch == 0:
        wb.run.log({"model/parameters": 3_157_200, "model/GFLOPs": 8.9}, step=trainer.epoch + 1)
def on_train_epoch_end(trainer):
    wb.run.log({f"train/{k}": v for k, v in trainer.losses.items()}, step=trainer.epoch + 1)
    wb.run.log(trainer.lr, step=trainer.epoch + 1)
def on_train_end(trainer):
    wb.run.summary.update({"best/mAP50": 0.5})
    wb.run.finish()
for training in range(2):  # in one process
    args = types.SimpleNamespace(project="runs/detect", name=f"train{training}", epochs=3, data="coco8.yaml", imgsz=[640, 640])
    trainer = types.SimpleNamespace(args=args, epoch=0, metrics={}, losses={}, lr={})
    on_pretrain_routine_start(trainer)
    for trainer.epoch in range(3):
        trainer.losses = {"box_loss": 1.0 / (1 + trainer.epoch), "cls_loss": 2.0}
        trainer.lr = {"lr/pg0": 0.01, "lr/pg1": 0.01}
        on_train_epoch_end(trainer)
        trainer.metrics = {"metrics/mAP50(B)": 0.1 * trainer.epoch, "val/box_loss": 1.0}
        on_fit_epoch_end(trainer)
    on_train_end(trainer)
    assert wb.run is None
"""

DETECTOR_EXTRAS = """
import penstock as wb
run = wb.init(project="YOLO")
x = [0.0, 0.5, 1.0]
table = wb.Table(data=[[0, 0.5, 1.0]], columns=["class", "y", "x"])
run.log({"curves": wb.plot_table("wandb/area-under-curve/v0", table, {"x": "x"}, {"title": "PR"})})
run.log({"a": 1.0})
art = wb.Artifact(type="model", name=f"run_{run.id}_model")
open("best.pt", "wb").write(b"weights")
art.add_file("best.pt")
run.log_artifact(art, aliases=["best"])
run.finish()
"""

AGENT = """
# Reinforcement learning: a callback of the library's, an environment that is recorded, TensorBoard beside.
import penstock as wandb
config = {"policy_type": "MlpPolicy", "total_timesteps": 100, "env_name": "CartPole-v1"}
run = wandb.init(project="sb3", config=config, sync_tensorboard=True, monitor_gym=True, save_code=True)
class BaseCallback:
    def __init__(self, verbose=0): self.verbose, self.n_calls, self.num_timesteps = verbose, 0, 0
    def init_callback(self, model): self.model = model; self._init_callback()
    def _init_callback(self): pass
    def on_training_end(self): self._on_training_end()
    def _on_training_end(self): pass
    def on_step(self): self.n_calls += 1; self.num_timesteps += 1; return self._on_step()
class WandbCallback(BaseCallback):
    def __init__(self, verbose=0, model_save_path=None, gradient_save_freq=0, log="all"):
        super().__init__(verbose)
        if wandb.run is None: raise RuntimeError("You must call wandb.init() before WandbCallback()")
    def _init_callback(self):
        d = {"algo": type(self.model).__name__}
        for key in self.model.__dict__:
            if key in wandb.config: continue
            d[key] = str(self.model.__dict__[key])
        wandb.config.setdefaults(d)
    def _on_step(self):
        wandb.log({"rollout/ep_rew_mean": float(self.num_timesteps), "global_step": self.num_timesteps})
        return True
class PPO:
    def __init__(self, policy, env, tensorboard_log): self.policy, self.env, self.gamma = policy, env, 0.99
    def learn(self, total_timesteps, callback):
        callback.init_callback(self)
        for _ in range(total_timesteps): assert callback.on_step()
        callback.on_training_end()
model = PPO(config["policy_type"], config["env_name"], tensorboard_log=f"runs/{run.id}")
model.learn(config["total_timesteps"], WandbCallback(gradient_save_freq=100, model_save_path=f"models/{run.id}"))
run.finish()
"""

HYDRA = """
# A config of nested groups, and several jobs in one process, each in a folder of its own.
import os
import penstock as wandb
from omegaconf import OmegaConf
base = {"model": {"layers": [64, {"width": 32}], "name": "mlp"}, "optim": {"lr": 0.1, "betas": [0.9, 0.999]},
        "ref": "${optim.lr}", "missing": "${oc.env:NOT_SET_ANYWHERE,none}"}
def train(cfg):
    run = wandb.init(project="hydra", config=OmegaConf.to_container(cfg, resolve=True) if cfg.get("plain") else cfg,
                     reinit=True, settings=wandb.Settings(start_method="thread"))
    for step in range(5): wandb.log({"loss": cfg.optim.lr / (1 + step)})
    wandb.finish()
start = os.getcwd()
for job, lr in enumerate([0.1, 0.2, 0.3]):
    cfg = OmegaConf.merge(OmegaConf.create(base), OmegaConf.from_dotlist([f"optim.lr={lr}", f"plain={job == 2}"]))
    os.makedirs(f"multirun/{job}", exist_ok=True)
    os.chdir(f"multirun/{job}")
    try: train(cfg)
    finally: os.chdir(start)
"""
CLEAN = """
# One file: argparse, a SummaryWriter, and a logger that is to follow it.
import argparse, os, random, sys, time
import numpy as np
class SummaryWriter:
    def __init__(self, log_dir): os.makedirs(log_dir, exist_ok=True); self.file = open(f"{log_dir}/events", "w")
    def add_text(self, tag, text): print(tag, text, file=self.file)
    def add_scalar(self, tag, value, step): print(tag, value, step, file=self.file)
    def close(self): self.file.close()
parser = argparse.ArgumentParser()
parser.add_argument("--exp-name", default="ppo")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--track", type=lambda x: x.lower() == "true", default=True, nargs="?", const=True)
parser.add_argument("--wandb-project-name", default="cleanRL")
parser.add_argument("--wandb-entity", default=None)
parser.add_argument("--learning-rate", type=float, default=2.5e-4)
args = parser.parse_args()
run_name = f"CartPole-v1__{args.exp_name}__{args.seed}__{int(time.time())}"
if args.track:
    import penstock as wandb
    wandb.init(
        project=args.wandb_project_name, entity=args.wandb_entity, sync_tensorboard=True, config=vars(args),
        name=run_name, monitor_gym=True, save_code=True,
    )
writer = SummaryWriter(f"runs/{run_name}")
writer.add_text("hyperparameters", "|".join(f"{k}={v}" for k, v in vars(args).items()))
random.seed(args.seed); np.random.seed(args.seed)
for global_step in range(0, 100, 10):
    episodic_return = np.float32(global_step) * np.random.rand()
    writer.add_scalar("charts/episodic_return", episodic_return, global_step)
    if args.track: wandb.log({"charts/episodic_return": episodic_return, "global_step": global_step})
writer.close()
"""


@pytest.fixture
def scripts(scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scripts:
    """They write into the working folder."""
    monkeypatch.chdir(tmp_path)
    return scripts


def points(ledger: Ledger, key: str) -> list[int]:
    return [
        step
        for batch in ledger.batches()
        for frame in batch.frames
        if key in frame.keys
        for step in memoryview(frame.steps).cast("q")
    ]


def configs(ledger: Ledger) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for batch in ledger.batches():
        for record in batch.records:
            if record["t"] == "config":
                found.setdefault(batch.run, {}).update(record["update"])
    return found


def all_finished(ledger: Ledger, count: int) -> bool:
    states = ledger.states()
    return len(states) == count and set(states.values()) == {("finished", 0)}


@pytest.mark.heavy
@pytest.mark.smoke
def test_settings_as_globals(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(GPT)
    wait_until(lambda: all_finished(ledger, 1))
    for key in ("iter", "train/loss", "val/loss", "lr", "mfu"):
        assert len(points(ledger, key)) == 5, key
    (config,) = configs(ledger).values()
    assert config["learning_rate"] == 6e-4
    assert config["wandb_project"] == "owt"


def test_callbacks_of_a_trainer(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(DETECTOR)
    wait_until(lambda: all_finished(ledger, 2))
    assert sorted(points(ledger, "train/box_loss")) == [1, 1, 2, 2, 3, 3]
    assert {each["imgsz"][0] for each in configs(ledger).values()} == {640}  # type: ignore[index]


@pytest.mark.skipif(
    not hasattr(penstock, "Artifact"),
    reason="needs wandb's types, which warn and do nothing",
)
def test_what_such_callbacks_do_with_files_harms_nothing(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(DETECTOR_EXTRAS)
    wait_until(lambda: all_finished(ledger, 1))
    assert len(points(ledger, "a")) == 1


def test_reinforcement_learning(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(AGENT)
    wait_until(lambda: all_finished(ledger, 1))
    assert points(ledger, "rollout/ep_rew_mean") == list(range(100))
    assert "sync_tensorboard" in said
    (config,) = configs(ledger).values()
    assert (config["gamma"], config["algo"], config["env_name"]) == ("0.99", "PPO", "CartPole-v1")


def test_one_file_with_a_summary_writer(scripts: Scripts, ledger: Ledger) -> None:
    scripts.run(CLEAN)
    wait_until(lambda: all_finished(ledger, 1))
    assert len(points(ledger, "charts/episodic_return")) == 10
    (config,) = configs(ledger).values()
    assert (config["exp_name"], config["seed"]) == ("ppo", 1)


def test_several_jobs_with_nested_configs(scripts: Scripts, ledger: Ledger) -> None:
    pytest.importorskip("omegaconf")
    scripts.run(HYDRA)
    wait_until(lambda: all_finished(ledger, 3))
    assert len(points(ledger, "loss")) == 15
    found = configs(ledger)
    assert len(found) == 3
    for config in found.values():
        assert config["model"] == {"layers": [64, {"width": 32}], "name": "mlp"}
        assert config["optim"]["betas"] == [0.9, 0.999]  # type: ignore[index]
        assert config["ref"] == config["optim"]["lr"]  # type: ignore[index]
        assert config["missing"] == "none"
    assert sorted(float(each["ref"]) for each in found.values()) == [0.1, 0.2, 0.3]  # type: ignore[arg-type]
