"""Scripts with `import penstock as wandb` and a whole `penstock up`: rewinding, reading back, editing, and the
idioms of public code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.marks import SMOKE
from support.up import Up, running_up

pytestmark = [*SMOKE, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up")) as started:
        yield started


def said_by(up: Up, code: str, **environ: str) -> tuple[Any, str]:
    """What a script printed as JSON on a line of its own, and its standard error."""
    done = up.run_python(f"import json\nimport penstock as wandb\n{code}", **environ)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("[", "{", '"'))]
    return (json.loads(lines[-1]) if lines else None), done.stderr


FIRST = """
run = wandb.init(project="p", id="%s", name="mine", config={"lr": 0.1})
for step in range(10): run.log({"loss": 1.0, "step": step})
run.summary["best"] = 9
run.finish()
"""


def test_resume_from_an_earlier_step(up: Up) -> None:
    said_by(up, FIRST % "back")
    found, _ = said_by(
        up,
        """
run = wandb.init(project="p", resume_from="back?_step=4")
print(json.dumps([run.id, run.name, run.resumed, run.step, run.starting_step, run.config.lr,
                  "best" in run.summary]))
for _ in range(2): run.log({"loss": 2.0})
run.finish()
""",
    )
    assert found == ["back", "mine", True, 5, 5, 0.1, False]
    rows, _ = said_by(
        up,
        """
rows = wandb.Api().run("p/back").scan_history(keys=["_step", "loss"])
print(json.dumps([[row["_step"], row["loss"]] for row in rows]))
""",
    )
    assert rows == [*([step, 1.0] for step in range(5)), [5, 2.0], [6, 2.0]]


def test_resume_from_a_run_that_is_not_there(up: Up) -> None:
    found, _ = said_by(
        up,
        """
try:
    wandb.init(project="p", resume_from="nobody?_step=4")
except wandb.errors.UsageError as error:
    print(json.dumps([str(error), wandb.run is None]))
""",
    )
    assert found == ["there is no run nobody in p to resume from", True]


def test_fork_from_a_step_of_another_run(up: Up) -> None:
    said_by(up, FIRST % "parent")
    found, said = said_by(
        up,
        """
run = wandb.init(project="p", id="child", name="twig", fork_from="parent?_step=4", config={"lr": 0.2})
print(json.dumps([run.id, run.name, run.resumed, run.step, dict(run.config)]))
for _ in range(2): run.log({"loss": 2.0})
run.finish()
""",
    )
    assert found == ["child", "twig", False, 5, {"lr": 0.2}]
    assert "is stored" in said
    found, _ = said_by(
        up,
        """
api = wandb.Api()
rows = {id: [[row["_step"], row["loss"]] for row in api.run(f"p/{id}").scan_history(keys=["_step", "loss"])]
        for id in ("parent", "child")}
run = api.run("p/child")
print(json.dumps([rows, run.name, run.state, run.config]))
""",
    )
    rows, *about = found
    assert rows["child"] == [*([step, 1.0] for step in range(5)), [5, 2.0], [6, 2.0]]
    assert len(rows["parent"]) == 10
    assert about == ["twig", "finished", {"lr": 0.2}]


def test_fork_from_a_run_that_is_not_there(up: Up) -> None:
    found, _ = said_by(
        up,
        """
try:
    wandb.init(project="p", id="orphan", fork_from="nobody?_step=4")
except wandb.Error as error:
    said = [str(error), wandb.run is None]
print(json.dumps([*said, "orphan" in [run.id for run in wandb.Api().runs("p")]]))
""",
    )
    assert "could not find run" in found[0]
    assert found[1:] == [True, False]


def test_a_run_is_edited_waited_for_and_deleted(up: Up) -> None:
    said_by(up, FIRST % "edited")
    found, _ = said_by(
        up,
        """
api = wandb.Api()
run = api.run("p/edited")
run.wait_until_finished()
run.tags.append("kept")
run.name, run.notes = "renamed", "why"
run.update()
again = api.run(f"{api.default_entity}/p/edited")
print(json.dumps([again.name, again.tags, again.notes, again.state, again.username, again.sweep_name,
                  json.loads(again.json_config), again.rawconfig, run.tags]))
""",
    )
    entity = found[4]
    expected = [
        "renamed",
        ["kept"],
        "why",
        "finished",
        entity,
        None,
        {"lr": {"value": 0.1}},
        {"lr": 0.1},
        ["kept"],
    ]
    assert found == expected
    found, _ = said_by(
        up,
        """
api = wandb.Api()
run = api.run("p/edited")
run.config["lr"] = 1.0
try:
    run.update()
except wandb.NotSupported as error:
    refused = str(error)
run.load()
kept = run.config["lr"]
run.delete()
try:
    api.run("p/edited")
except wandb.CommError as error:
    print(json.dumps([refused, kept, error.status]))
""",
    )
    assert found == ["run.update() cannot change the config: only the run itself sets it", 0.1, 410]


def test_what_the_api_finds(up: Up) -> None:
    said_by(up, FIRST % "found")
    found, _ = said_by(
        up,
        """
api = wandb.Api()
project = api.project("p")
refused = []
for read in (lambda: api.artifact("a:latest"), lambda: api.run("p/found").files(), lambda: api.nonsense,
             lambda: api.run("p/found").system_metrics, lambda: api.runs("p").histories()):
    try:
        read()
    except (wandb.NotSupported, AttributeError) as error:
        refused.append(type(error).__name__)
api.flush()
print(json.dumps([api.viewer.entity, project.path, api.from_path(f"{api.viewer.entity}/p").name,
                  api.from_path("p/found/x") is None if False else api.run("p/found").lastHistoryStep, refused,
                  "artifacts" in dir(api)]))
""",
    )
    entity = found[0]
    refused = ["NotSupported", "NotSupported", "AttributeError", "NotSupported", "NotSupported"]
    assert found == [entity, [entity, "p"], "p", 9, refused, True]


def test_a_sweep_is_read_back(up: Up) -> None:
    found, _ = said_by(
        up,
        """
config = {"method": "grid", "name": "three", "metric": {"name": "loss", "goal": "minimize"},
          "parameters": {"lr": {"values": [3, 1, 2]}}}
sweep_id = wandb.sweep(config, project="swept")
def train():
    with wandb.init() as run: run.log({"loss": run.config.lr / 10})
wandb.agent(sweep_id, train, project="swept")
api = wandb.Api()
sweep = api.sweep(f"swept/{sweep_id}")
run = sweep.best_run()
print(json.dumps([sweep.id == sweep_id, sweep.name, sweep.state, sweep.config == config, len(sweep.runs), run.config["lr"],
                  run.sweep.id == sweep_id, run.sweep_name == sweep_id, sweep.expected_run_count, sweep.order,
                  [each.id == sweep_id for each in api.project("swept").sweeps()]]))
""",
    )
    order = "+summary_metrics.loss"
    assert found == [True, "three", "FINISHED", True, 3, 1, True, True, 3, order, [True]]


IDIOMS = {
    # nanoGPT
    "nanogpt": """
wandb.init(project="idioms", name="gpt2-124M", config={"batch_size": 12, "compile": True})
for it in range(3):
    wandb.log({"iter": it, "train/loss": 1.0 / (it + 1), "val/loss": 2.0, "lr": 6e-4, "mfu": it * 100})
""",
    # ultralytics: a guard, tables and artifacts that are not there yet, finish, and a second run
    "ultralytics": """
for name in ("first", "second"):
    wb = wandb
    wb.run or wb.init(project="idioms", name=name, config={"epochs": 2}, entity=None)
    for epoch in range(2):
        wb.run.log({"train/box_loss": 0.5, "lr/pg0": 0.01}, step=epoch + 1)
        wb.run.log({"plots": wb.Image("nothing.png")}, step=epoch + 1)
    table = wb.Table(data=[[1, 2]], columns=["x", "y"])
    wb.run.log({"curve": wb.plot_table("v1", table, {"x": "x"}, {"title": "t"})})
    art = wb.Artifact(type="model", name=f"run_{wb.run.id}_model")
    art.add_file("best.pt")
    wb.run.log_artifact(art, aliases=["best"])
    wb.run.finish()
""",
    # stable-baselines3's callback and its guard
    "sb3": """
if wandb.run is None:
    run = wandb.init(project="idioms", config={"policy": "MlpPolicy"}, monitor_gym=True, save_code=True)
wandb.config.setdefaults({"algo": "PPO", "policy": "other"})
wandb.log({"rollout/ep_rew_mean": 20.5, "time/fps": 900})
wandb.save("model.zip", policy="now")
assert wandb.config.algo == "PPO" and wandb.config["policy"] == "MlpPolicy"
run.finish()
""",
    # Hydra: a config of OmegaConf, settings for threads
    "hydra": """
from omegaconf import OmegaConf
cfg = OmegaConf.create({"model": {"dim": 64, "layers": [1, 2]}, "lr": 0.1})
wandb.config = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
run = wandb.init(project="idioms", config=cfg, settings=wandb.Settings(start_method="thread"))
run.log({"loss": 0.5}, sync=False)
assert run.config["model"]["layers"] == [1, 2]
""",
    # timm, torchvision and old scripts: dir, watch's neighbours, join
    "old": """
run = wandb.init(project="idioms", reinit=True, resume=False, anonymous="allow", run_name="old")
open(run.dir + "/model.pt", "w").write("x")
wandb.alert(title="done", text="well", level=wandb.AlertLevel.INFO, wait_duration=300)
wandb.run.summary["best_acc"] = 0.9
wandb.sklearn.plot_confusion_matrix([0], [1], ["a"])
wandb.log({"acc": 0.9, "hist": wandb.Histogram([1, 2, 3])})
wandb.join()
""",
}


@pytest.mark.parametrize("kind", IDIOMS)
def test_scripts_of_public_code(up: Up, kind: str) -> None:
    _, said = said_by(up, IDIOMS[kind], WANDB_TAGS=kind)
    assert "is stored" in said
    found, _ = said_by(
        up,
        f"""
runs = wandb.Api().runs("idioms", filters={{"tags": "{kind}"}})
print(json.dumps([[run.name, run.state, sorted(run.summary)] for run in runs]))
""",
    )
    keys = {
        "nanogpt": ["iter", "lr", "mfu", "train/loss", "val/loss"],
        "ultralytics": ["lr/pg0", "train/box_loss"],
        "sb3": ["rollout/ep_rew_mean", "time/fps"],
        "hydra": ["loss"],
        "old": ["acc", "best_acc"],
    }[kind]
    assert len(found) == (2 if kind == "ultralytics" else 1)
    for _, state, summary in found:
        assert state == "finished"
        assert [key for key in summary if not key.startswith("_")] == keys
    names = {"nanogpt": {"gpt2-124M"}, "ultralytics": {"first", "second"}, "old": {"old"}}.get(kind)
    assert names is None or {name for name, *_ in found} == names
