"""Texts that are empty: told from none where the client can tell, and taken away by writing none."""

from __future__ import annotations

from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

_LOG = """
import wandb
open("a.txt", "w").write("a")
with wandb.init(project="empty", id="r", group="g", job_type="j", notes="n", name="named") as run:
    for name, description in (("bare", None), ("told", "what it is")):
        artifact = wandb.Artifact(name, "dataset", description=description)
        artifact.add_file("a.txt")
        run.log_artifact(artifact).wait()
"""


def test_descriptions_of_collections_and_artifacts(up: Up) -> None:
    run_wandb(up, _LOG).check()
    found = ask(
        up,
        """
        def collection():
            return wandb.Api().artifact_collection("dataset", "empty/bare")
        described = [collection().description]
        for text in ("words", "", "again"):
            changed = collection()
            changed.description = text
            changed.save()
            described.append(collection().description)
        listed = [each.description for each in api.artifact_collections("empty", "dataset")]
        told = api.artifact("empty/told:v0")
        versions = [api.artifact("empty/bare:v0").description, told.description]
        told.description = ""
        told.save()
        show([described, sorted(listed), versions, wandb.Api().artifact("empty/told:v0").description,
              api.artifact("empty/bare:v0").aliases, api.artifact("empty/bare:v0").tags])
        """,
    )
    described, listed, versions, emptied, aliases, tags = found
    assert described == ["", "words", "", "again"]
    assert listed == ["", "again"]
    assert versions == [None, "what it is"]
    assert not emptied
    assert (aliases, tags) == (["latest"], [])


def test_texts_of_a_run_are_taken_away(up: Up) -> None:
    run_wandb(up, _LOG).check()
    found = ask(
        up,
        """
        run = api.run("empty/r")
        before = [run.notes, run.group, run.job_type, run.name, run.tags]
        run.notes = run.group = run.job_type = ""
        run.update()
        again = wandb.Api().run("empty/r")
        after = [again.notes, again.group, again.job_type, again.name, again.tags]
        again.tags = ["t"]
        again.update()
        last = wandb.Api().run("empty/r")
        show([before, after, [last.notes, last.group, last.job_type, last.name, last.tags]])
        """,
    )
    before, after, last = found
    assert before == ["n", "g", "j", "named", []]
    assert after == ["", None, None, "named", []]
    assert last == ["", None, None, "named", ["t"]]
    page = up.get("/v1/runs/local/empty/r")
    assert (page["notes"], page["group"], page["job_type"]) == ("", "", "")
