"""Deleting what is deleted is no error; changing it is one, and brings nothing back."""

from __future__ import annotations

from urllib.error import HTTPError

import pytest
from support.api_keys import new_key
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb


def test_a_run_is_deleted_twice(up: Up) -> None:
    twice, again, by_path = ask(
        up,
        """
        api.create_run(run_id="r", project="twice")
        run, other = api.run("twice/r"), wandb.Api().run("twice/r")
        show([[error(run.delete), error(lambda: run.delete(delete_artifacts=True))],
              error(other.delete), error(lambda: wandb.Api().run("twice/r"))])
        """,
    )
    assert twice == [None, None]
    assert again is None
    assert "Could not find run" in by_path


def test_a_deleted_run_is_not_changed(up: Up) -> None:
    found = ask(
        up,
        """
        api.create_run(run_id="changed", project="twice")
        run = api.run("twice/changed")
        run.delete()
        run.notes = "late"
        run.config["late"] = 1
        show([error(call) for call in (run.update, run.stop, lambda: run.update_state("failed"),
              lambda: run.summary.update({"late": 1}))] + [list(run.files())])
        """,
    )
    assert all("could not find this run" in each for each in found[:4]), found
    assert found[4] == []
    with pytest.raises(HTTPError) as gone:
        up.get("/v1/runs/local/twice/changed")
    assert gone.value.code == 410


def test_ids_that_are_no_runs_and_those_of_others(up: Up) -> None:
    stranger = new_key(up, "strangers", "read", "write")
    delete = "mutation D($id: ID!) { deleteRun(input: {id: $id}) { clientMutationId } }"
    own, gone = ask(
        up,
        """
        api.create_run(run_id="own", project="twice")
        api.create_run(run_id="gone", project="twice")
        run = api.run("twice/gone")
        run.delete()
        show([api.run("twice/own").storage_id, run.storage_id])
        """,
    )
    ids = [own, gone, "UnVuOjk5OTk5OQ==", "UnVuOng=", "UnVuOuC4kQ==", "nonsense", ""]
    errors = ask(
        up,
        f"show([error(lambda: graphql({delete!r}, id=id)) for id in {ids!r}])",
        key=stranger,
        entity="",
    )
    assert all(each is not None for each in errors), errors
    assert up.get("/v1/runs/local/twice/own")["run"] == "own"


def test_an_artifact_is_deleted_twice(up: Up) -> None:
    code = """
import wandb
open("a.txt", "w").write("a")
with wandb.init(project="artifacts") as run:
    artifact = wandb.Artifact("ds", "dataset")
    artifact.add_file("a.txt")
    run.log_artifact(artifact).wait()
api = wandb.Api()
artifact = api.artifact("artifacts/ds:v0")
artifact.delete(delete_aliases=True)
artifact.delete(delete_aliases=True)
artifact.delete()
assert not api.artifact_exists("artifacts/ds:v0")
artifact.description = "late"
try:
    artifact.save()
except wandb.errors.CommError as error:
    assert "could not find this artifact" in str(error)
else:
    raise AssertionError("a deleted artifact was changed")
print("done")
"""
    assert "done" in run_wandb(up, code).check().stdout
