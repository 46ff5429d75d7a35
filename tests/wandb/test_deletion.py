"""Runs deleted while the official client logs to them, and after; and their ids used again."""

from __future__ import annotations

from typing import Any
from urllib.error import HTTPError

from support.logged import Logged
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb, start_wandb

LOGS = """
import time, wandb
run = wandb.init(project="deletion", id="r")
for i in range(400):
    run.log({"loss": i, "of": %r})
    print(f"logged {i}")
    time.sleep(0.02)
run.config.update({"late": True})
run.finish()
"""


def delete(up: Up, project: str, run: str) -> Any:
    """As `run.delete()` of the public API does."""
    asked = "query Q($p: String!, $r: String!) { project(name: $p) { run(name: $r) { id } } }"
    found = graphql(up, asked, {"p": project, "r": run})
    mutation = """mutation DeleteRun($id: ID!) {
        deleteRun(input: {id: $id}) { clientMutationId }
    }"""
    return graphql(up, mutation, {"id": found["data"]["project"]["run"]["id"]})


def graphql(up: Up, query: str, variables: dict[str, str]) -> Any:
    return up.post("/graphql", {"query": query, "variables": variables})


def status(up: Up, run: str) -> int:
    try:
        up.get(f"/v1/runs/local/deletion/{run}")
    except HTTPError as error:
        return error.code
    return 200


def test_a_run_deleted_while_it_logs_stays_so_and_its_script_goes_on(up: Up) -> None:
    with start_wandb(up, LOGS % "first") as script:
        wait_until(lambda: script.says("logged 20"), 40)
        wait_until(lambda: status(up, "r") == 200, 40)
        assert delete(up, "deletion", "r") == {"data": {"deleteRun": {"clientMutationId": None}}}
        assert status(up, "r") == 410
        result = script.wait()
    assert result.code == 0
    assert "logged 399" in result.stdout
    assert status(up, "r") == 410
    assert up.get("/v1/projects/local/deletion/runs")["total"] == 0
    # The id is free for another run, which has nothing of the first.
    run_wandb(up, LOGS % "second").check()
    run = Logged(up, "deletion", "r")
    assert run.fields()["config"] == {"late": True}
    assert run.history(keys="loss,of") == [
        {"_step": i, "loss": i, "of": "second"} for i in range(400)
    ]
