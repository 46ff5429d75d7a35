"""What scripts say of their runs with the official client: config, summary, names, tags, groups."""

from __future__ import annotations

from typing import Any

from support.logged import Logged
from support.up import Up
from support.wandb_scripts import run_wandb


def fields_of(up: Up, run: str, body: str, init: str = "") -> dict[str, Any]:
    """What is known of a run after a script with this body."""
    code = f"""
import wandb
run = wandb.init(project="about", id={run!r}{init and ", " + init})
{body}
run.finish()
"""
    run_wandb(up, code).check()
    return Logged(up, "about", run).fields()


def test_config(up: Up) -> None:
    body = """
run.config.update({"batch": 64})
run.config.update({"lr": 0.2}, allow_val_change=True)
run.config.late = {"a": {"b": [1, 2, {"c": None}]}}
run.log({"loss": 1})
run.config.update({"batch": 128}, allow_val_change=True)
run.config.after = "log"
"""
    fields = fields_of(
        up, "config", body, 'config={"lr": 0.1, "name": "ü", "deep": {"x": {"y": 1}}}'
    )
    assert fields["config"] == {
        "lr": 0.2,
        "name": "ü",
        "deep": {"x": {"y": 1}},
        "batch": 128,
        "late": {"a": {"b": [1, 2, {"c": None}]}},
        "after": "log",
    }


def test_config_of_a_running_script(up: Up) -> None:
    """It is there before the script ends: an update is sent within seconds."""
    code = """
import time, urllib.request, os, json, wandb
run = wandb.init(project="about", id="early", config={"lr": 0.1})
run.config["late"] = 1
request = urllib.request.Request(
    os.environ["WANDB_BASE_URL"] + "/v1/runs/local/about/early",
    headers={"Authorization": "Bearer " + os.environ["WANDB_API_KEY"]})
deadline = time.monotonic() + 30
while time.monotonic() < deadline:
    shown = json.loads(urllib.request.urlopen(request).read())
    if shown["config"] == {"lr": 0.1, "late": 1}:
        break
    time.sleep(0.1)
print(shown["state"], shown["config"] == {"lr": 0.1, "late": 1})
run.finish()
"""
    assert run_wandb(up, code).check().stdout.splitlines()[-1] == "running True"


def test_summary(up: Up) -> None:
    body = """
for i in range(10):
    run.log({"loss": 10 - i, "acc": i, "gone": i})
run.summary["best"] = 7.5
run.summary["acc"] = "overwritten"
run.summary.update({"nested": {"a": 1, "b": {"c": 2}}})
del run.summary["gone"]
"""
    summary = fields_of(up, "summary", body)["summary"]
    assert summary["loss"] == 1
    assert summary["acc"] == "overwritten"
    assert summary["best"] == 7.5
    assert summary["nested"] == {"a": 1, "b": {"c": 2}}


def test_summary_rules(up: Up) -> None:
    body = """
run.define_metric("epoch")
run.define_metric("loss", summary="min")
run.define_metric("acc", summary="max,last")
run.define_metric("hidden", summary="none")
run.define_metric("val/*", step_metric="epoch", summary="mean")
for i in range(11):
    run.log({"epoch": i // 2, "loss": abs(i - 7), "acc": -abs(i - 3), "val/x": i, "hidden": i})
"""
    fields = fields_of(up, "rules", body)
    summary = fields["summary"]
    assert summary["loss"] == {"min": 0}
    assert summary["acc"] == {"max": 0, "last": -7}
    assert summary["val/x"] == {"mean": 5}
    rules = fields["info"]["define_metric"]
    assert rules["loss"]["summary"] == "min"
    # Before 0.31 the client wrote a rule for each name that a glob stood for.
    assert (rules.get("val/*") or rules["val/x"])["step_metric"] == "epoch"


def test_names_tags_and_groups(up: Up) -> None:
    body = """
run.tags += ("later",)
run.notes = "changed"
run.name = "renamed"
run.log({"loss": 1})
"""
    init = """name="first", tags=["a", "b c"], notes="some notes", group="g 1", job_type="eval" """
    fields = fields_of(up, "about", body, init)
    assert fields["name"] == "renamed"
    assert sorted(fields["tags"]) == ["a", "b c", "later"]
    assert fields["notes"] == "changed"
    assert fields["group"] == "g 1"
    assert fields["job_type"] == "eval"


def test_what_the_environment_says(up: Up) -> None:
    code = """
import wandb
with wandb.init() as run:
    run.log({"loss": 1})
"""
    run_wandb(
        up, code, WANDB_PROJECT="environment", WANDB_RUN_ID="e1", WANDB_NAME="by env",
        WANDB_TAGS="x,y", WANDB_NOTES="noted", WANDB_RUN_GROUP="grp", WANDB_JOB_TYPE="job",
    ).check()  # fmt: skip
    fields = Logged(up, "environment", "e1").fields()
    assert fields["name"] == "by env"
    assert sorted(fields["tags"]) == ["x", "y"]
    assert (fields["notes"], fields["group"], fields["job_type"]) == ("noted", "grp", "job")
