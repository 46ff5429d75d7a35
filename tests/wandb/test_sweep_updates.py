"""Sweeps changed with `wandb sweep --update`, and how many runs one expects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb_command

GRID = {
    "method": "grid",
    "name": "first name",
    "description": "as it was made",
    "parameters": {"p": {"values": [1, 2, 3]}},
}


def made(up: Up, config: dict[str, Any]) -> str:
    """The id of a new sweep."""
    found: str = ask(
        up, f'show(wandb.sweep(json.loads({json.dumps(config)!r}), project="updates"))'
    )
    return found


def update(up: Up, folder: Path, sweep: str, text: str) -> str:
    """What the command says that gives the sweep another configuration."""
    path = folder / "sweep.yaml"
    path.write_text(text)
    ended = run_wandb_command(up, "sweep", "--update", f"local/updates/{sweep}", str(path)).check()
    return ended.stderr + ended.stdout


def test_a_sweep_takes_another_configuration(up: Up, tmp_path: Path) -> None:
    sweep = made(up, GRID)
    text = "method: grid\nname: second name\nparameters:\n  p: {values: [1, 2]}\n  q: {value: 5}\n"
    assert f"Updating sweep with ID: {sweep}" in update(up, tmp_path, sweep, text)
    name, config, expected, state = ask(
        up,
        f"""
        sweep = api.sweep("updates/{sweep}")
        show([sweep.name, sweep.config, sweep.expected_run_count, sweep.state])
        """,
    )
    assert (name, expected, state) == ("second name", 2, "PENDING")
    assert config["parameters"] == {"p": {"values": [1, 2]}, "q": {"value": 5}}
    listed = up.get("/v1/sweeps/local/updates")["sweeps"]
    assert [each["sweep"] for each in listed] == [sweep]  # changed, not made a second time


def test_a_refused_configuration_changes_nothing(up: Up, tmp_path: Path) -> None:
    sweep = made(up, GRID)
    path = tmp_path / "sweep.yaml"
    path.write_text("method: guess\nparameters:\n  p: {value: 1}\n")
    ended = run_wandb_command(up, "sweep", "--update", f"local/updates/{sweep}", str(path))
    assert ended.code != 0
    assert "guess" in ended.stderr + ended.stdout
    assert up.get(f"/v1/sweeps/local/updates/{sweep}")["name"] == "first name"


def test_variables_that_were_not_sent_are_as_if_not_written(up: Up) -> None:
    sweep = made(up, GRID)
    upsert = """mutation M($id: ID, $config: String, $state: String, $displayName: String, $o: JSONString) {
        upsertSweep(input: {id: $id, config: $config, state: $state, displayName: $displayName,
                            scheduler: $o, launchScheduler: $o, priorRunsFilters: $o})
        { sweep { name state displayName config } configValidationWarnings } }"""
    bucket = """mutation M($name: String, $notes: String, $tags: [String!], $config: JSONString) {
        upsertBucket(input: {name: $name, modelName: "updates", notes: $notes, tags: $tags,
                             config: $config, groupName: $notes, summaryMetrics: $config})
        { bucket { name notes tags group config } } }"""
    found = ask(
        up,
        f"""
        sweep = graphql('query Q {{ project(name: "updates") {{ sweep(sweepName: "{sweep}") {{ id }} }} }}')
        id = sweep["project"]["sweep"]["id"]
        paused = graphql({upsert!r}, id=id, displayName="shown")
        listed = graphql('query Q($a: String) {{ project(name: "updates") {{ runs(names: [$a]) {{ totalCount }} }} }}')
        graphql({bucket!r}, name="r", notes="kept", tags=["t"], config='{{"a": {{"value": 1}}}}')
        show([paused["upsertSweep"], graphql({bucket!r}, name="r")["upsertBucket"]["bucket"], listed])
        """,
    )
    changed, run, listed = found
    assert changed["configValidationWarnings"] == []
    assert changed["sweep"]["displayName"] == "shown"
    assert "first name" in changed["sweep"]["config"]
    assert (run["notes"], run["tags"], run["group"]) == ("kept", ["t"], "kept")
    assert json.loads(run["config"]) == {"a": {"value": 1, "desc": None}}
    assert listed == {"project": {"runs": {"totalCount": 0}}}


def test_how_many_runs_a_sweep_expects(up: Up) -> None:
    space = {"p": {"values": [1, 2, 3]}}
    nested = {**space, "q": {"parameters": {"r": {"values": [1, 2, 3]}, "s": {"value": 1}}}}
    bayes = {"method": "bayes", "metric": {"name": "m", "goal": "maximize"}, "parameters": space}
    configs = [
        {"method": "grid", "parameters": space},
        {"method": "grid", "parameters": nested},
        {"method": "grid", "run_cap": 2, "parameters": nested},
        {"method": "random", "parameters": space},
        {"method": "random", "run_cap": 7, "parameters": space},
        bayes,
        {**bayes, "run_cap": 5},
    ]
    found = ask(
        up,
        f"""
        ids = [wandb.sweep(config, project="expected") for config in json.loads({json.dumps(configs)!r})]
        show([api.sweep(f"expected/{{id}}").expected_run_count for id in ids])
        """,
    )
    assert found == [3, 9, 2, None, 7, None, 5]
