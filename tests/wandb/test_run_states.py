"""`run.update_state`: claimed as a feature, allowed where wandb allows it, refused in its words."""

from __future__ import annotations

from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb


def test_the_server_says_that_it_can(up: Up) -> None:
    found = ask(
        up,
        """
        from wandb.sdk.artifacts._gqlutils import server_supports
        names = ["UPDATE_RUN_STATE", "FILESTREAM_GZIP", "NOT_A_FEATURE"]
        show([server_supports(api._service_api, name) for name in names])
        """,
    )
    assert found == [True, True, False]


def test_transitions(up: Up) -> None:
    run_wandb(up, 'import wandb\nwandb.init(project="states", id="done").finish()\n').check()
    found = ask(
        up,
        """
        api.create_run(run_id="r", project="states")
        run = api.run("states/r")
        steps = [run.update_state("failed"), error(lambda: run.update_state("failed")), run.state,
                 run.update_state("pending"), error(lambda: run.update_state("pending")),
                 run.update_state("failed")]
        done = api.run("states/done")
        odd = [error(lambda: done.update_state(state))
               for state in ("failed", "pending", "running", "finished", "", "x", "FAILED")]
        api.flush()
        show([steps, odd, api.run("states/r").state, api.run("states/done").state])
        """,
    )
    (failed, refused, state, pending, again, last), odd, run, done = found
    assert (failed, pending, last, state) == (True, True, True, "failed")
    assert "CommError" in refused
    assert "invalid state transition" in refused
    assert "invalid state transition" in again
    assert all("invalid state transition" in each for each in odd), odd
    assert (run, done) == ("failed", "finished")
