"""`wandb.Api` in scripts of its own: who asks, what runs are, how they are edited, what is missing."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from support.api_keys import new_key
from support.up import Up, wait_until
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

_LOG = """
import time, wandb
run = wandb.init(project="api", id="first", name="a name", notes="some notes", group="g",
                 job_type="train", tags=["x", "y"], config={"lr": 0.1, "net": {"depth": 3}})
for i in range(5):
    run.log({"loss": 1 / (i + 1), "nested": {"a": i}, "odd": float("nan")})
run.summary["best"] = {"value": 1.5, "list": [1, 2]}
run.alert("Low", "it fell", level=wandb.AlertLevel.WARN)
run.alert("Low", "not told within a minute", level=wandb.AlertLevel.WARN)
run.alert("Other", "at once", wait_duration=0.001)
time.sleep(0.1)
run.alert("Other", "later", wait_duration=0.001)
run.finish()
wandb.init(project="api", id="failed").finish(exit_code=3)
"""
_NATIVE = """
import penstock
run = penstock.init(project="api", id="native", config={"lr": 1})
for i in range(3):
    run.log({"loss": i / 2, "epoch": i})
run.summary["best"] = 7
run.alert("Native", "told by the own client", level="ERROR")
run.finish()
"""


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    run_wandb(up, _LOG).check()
    ended = up.run_python(_NATIVE)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.smoke
def test_a_run_is_what_was_said_of_it(up: Up) -> None:
    found = ask(
        up,
        """
        run = api.run("local/api/first")
        show([[run.id, run.name, run.state, run.notes, run.group, run.job_type, run.tags, run.config,
               run.path, run.url, run.read_only, run.entity, run.user.username, run.lastHistoryStep],
              dict(run.summary_metrics), run.created_at, run.rawconfig["_wandb"]["cli_version"],
              run.to_html(), [api.run(path).id for path in ("api/first", "/local/api/runs/first")]])
        """,
    )
    about, summary, created_at, version, html, ids = found
    url = f"{up.url}/local/api/runs/first"
    assert about == [
        "first", "a name", "finished", "some notes", "g", "train", ["x", "y"],
        {"lr": 0.1, "net": {"depth": 3}}, ["local", "api", "first"], url, False, "local", "local", 4,
    ]  # fmt: skip
    assert url in html
    assert created_at.endswith("Z")
    assert version == importlib.metadata.version("wandb")
    assert ids == ["first", "first"]
    assert summary["loss"] == 0.2
    assert summary["best"] == {"value": 1.5, "list": [1, 2]}
    assert summary["nested"] == {"a": 4}
    assert summary["odd"] != summary["odd"]
    assert summary["_step"] == 4
    assert not any(name.startswith("system.") for name in summary)


def test_who_asks(up: Up) -> None:
    found = ask(
        up,
        """
        viewer, team = api.viewer, api.team("local")
        user = api.user("local")
        show([api.default_entity, viewer.username, viewer.admin, viewer.entity, viewer.teams,
              viewer.api_keys, team.id == api.team("local").id, [m.username for m in team.members],
              user.username, [u.username for u in api.users("oca")], api.users("nobody"),
              api.user("nobody")])
        """,
    )
    assert found == [
        "local", "local", True, "local", ["local"], [], True, ["local"], "local", ["local"], [], None,
    ]  # fmt: skip


def test_projects(up: Up) -> None:
    found = ask(
        up,
        """
        api.create_project("made", "local")
        api.create_project("made", "local")
        names = [project.name for project in api.projects("local", per_page=1)]
        project = api.project("api")
        show([names, project.url, project.owner.username, project.path, project.to_html(),
              list(api.projects("strangers")), error(lambda: api.project("none").owner),
              error(lambda: list(api.runs("none")))])
        """,
    )
    names, url, owner, path, html, strangers, no_owner, no_runs = found
    assert {"api", "made"} <= set(names)
    assert len(names) == len(set(names))
    assert url == f"{up.url}/local/api/workspace"
    assert (owner, path, strangers) == ("local", ["local", "api"], [])
    assert url in html
    assert no_owner.startswith("ValueError")
    assert no_runs == "ValueError: Could not find project none"


def test_what_is_missing(up: Up) -> None:
    found = ask(
        up,
        """
        paths = ["api/none", "none/first", "strangers/api/first"]
        show([error(lambda: api.run(path)) for path in paths])
        """,
    )
    assert all("Could not find run" in each for each in found), found


def test_edits_are_kept(up: Up) -> None:
    found = ask(
        up,
        """
        api.create_run(run_id="edited", project="api")
        run = api.run("api/edited")
        states = [run.state]
        run.config["lr"] = 0.5
        run.config["deep"] = {"a": [1, {"b": None}]}
        run.tags = ["one", "two"]
        run.name, run.notes, run.group, run.job_type = "named", "noted", "grouped", "job"
        run.summary["best"] = 3
        run.update()
        run.summary.update({"more": {"x": 1}, "text": "words"})
        api.flush()
        run = api.run("api/edited")
        first = [run.config, run.tags, run.name, run.notes, run.group, run.job_type,
                 dict(run.summary_metrics)]
        run.description = "described"
        del run.summary["best"]
        run.update()
        states += [run.update_state("failed"), error(lambda: run.update_state("running"))]
        api.flush()
        run = api.run("api/edited")
        states.append(run.state)
        states += [run.update_state("pending"), run.wait_until_finished.__name__]
        show([first, run.notes, dict(run.summary_metrics), states])
        """,
    )
    first, notes, summary, states = found
    assert first == [
        {"lr": 0.5, "deep": {"a": [1, {"b": None}]}}, ["one", "two"], "named", "noted", "grouped",
        "job", {"best": 3, "more": {"x": 1}, "text": "words"},
    ]  # fmt: skip
    assert notes == "described"
    assert summary == {"more": {"x": 1}, "text": "words"}
    assert states[:2] == ["running", True]
    assert "cannot become" in states[2]
    assert states[3] == "failed"
    assert states[4] is True
    page = up.get("/v1/runs/local/api/edited")
    assert (page["name"], page["tags"], page["state"]) == ("named", ["one", "two"], "pending")


def test_edits_of_a_logged_run_keep_its_environment(up: Up) -> None:
    found = ask(
        up,
        """
        run = api.run("api/failed")
        run.config["new"] = 1
        run.update()
        api.flush()
        run = api.run("api/failed")
        run.wait_until_finished()
        show([run.config, sorted(run.rawconfig["_wandb"]), run.state, run.lastHistoryStep])
        """,
    )
    config, own, state, last_step = found
    assert config == {"new": 1}
    assert {"cli_version", "python_version", "t", "e"} <= set(own)
    assert (state, last_step) == ("failed", -1)


def test_a_run_of_the_own_client_keeps_its_logged_summary(up: Up) -> None:
    found = ask(
        up,
        """
        run = api.run("api/native")
        before = dict(run.summary_metrics)
        run.summary.update({"best": 8, "new": "x"})
        api.flush()
        show([before, dict(api.run("api/native").summary_metrics), run.config, run.history_keys])
        """,
    )
    before, after, config, keys = found
    assert before == {"loss": 1.0, "epoch": 2, "best": 7}
    assert after == {"loss": 1.0, "epoch": 2, "best": 8, "new": "x"}
    assert config == {"lr": 1}
    assert keys["lastStep"] == 2
    assert set(keys["keys"]) == {"loss", "epoch", "_step", "_timestamp"}
    code = 'import penstock\nrun = penstock.init(project="api", id="native", resume="allow")\n'
    ended = up.run_python(code + 'run.log({"loss": 9.5}, step=10)\nrun.finish()\n')
    assert ended.returncode == 0, ended.stderr
    summary = up.get("/v1/runs/local/api/native")["summary"]
    assert (summary["loss"], summary["best"]) == (9.5, 8)


def test_alerts_are_kept(up: Up) -> None:
    def alerts(run: str, query: str = "") -> Any:
        return up.get(f"/v1/runs/local/api/{run}/alerts{query}")

    wait_until(lambda: len(alerts("first")["alerts"]) >= 3)
    found = alerts("first")
    told = [(each["title"], each["text"], each["level"]) for each in found["alerts"]]
    assert told == [
        ("Other", "later", "INFO"), ("Other", "at once", "INFO"), ("Low", "it fell", "WARN"),
    ]  # fmt: skip
    assert found["next"] is None
    paged, before = [], ""
    while True:
        page = alerts("first", f"?limit=1{before}")
        paged += page["alerts"]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert paged == found["alerts"]
    [native] = alerts("native")["alerts"]
    assert (native["title"], native["level"]) == ("Native", "ERROR")
    assert alerts("failed")["alerts"] == []
    assert up.get("/v1/runs/local/api/first")["last_step"] == 4


def test_chart_presets_get_an_id(up: Up) -> None:
    found = ask(
        up,
        """
        spec = {"mark": "bar"}
        ids = [api.create_custom_chart("local", "bars", "Bars", "vega2", "private", spec)
               for _ in range(2)]
        show(ids)
        """,
    )
    assert found == ["local/bars"] * 2


def test_other_entities_do_not_exist(up: Up) -> None:
    stranger = new_key(up, "strangers", "read", "write")
    found = ask(
        up,
        """
        api.create_run(run_id="own", project="api")
        show([api.default_entity, [run.id for run in api.runs("api")],
              error(lambda: api.run("local/api/first")), error(lambda: list(api.runs("local/api"))),
              list(api.projects("local")), [u.username for u in api.users("")],
              error(lambda: api.create_run(run_id="x", project="api", entity="local")),
              error(lambda: api.create_project("x", "local")), api.viewer.admin,
              error(lambda: api.create_custom_chart("local", "c", "C", "vega2", "private", {}))])
        """,
        key=stranger,
        entity="",
    )
    entity, runs, run, listed, projects, users, created, project, is_admin, chart = found
    assert (entity, runs, projects, users) == ("strangers", ["own"], [], ["strangers"])
    assert "Could not find run" in run
    assert "Could not find project" in listed
    assert "may not write" in created
    assert "may not write" in project
    assert "may not write" in chart
    assert is_admin is False
    reader = new_key(up, "local", "read")
    assert ask(up, 'show(api.run("local/api/first").read_only)', key=reader) is True
