"""What nobody has: the client's own errors say so, and nothing is made up or made."""

from __future__ import annotations

import json

import pytest
from support.api_keys import new_key
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

pytestmark = pytest.mark.heavy

MISSING = {
    'api.run("p/none")': "CommError: Could not find run",
    'api.run("none/none")': "CommError: Could not find run",
    'api.run("nobody/p/r")': "CommError: Could not find run",
    'list(api.runs("none"))': "ValueError: Could not find project none",
    'len(api.runs("nobody/p"))': "ValueError: Could not find project p",
    'api.project("none").id': "ValueError: Project none not found",
    'api.project("p", "nobody").owner': "ValueError: No user found for project p",
    'len(api.project("none").sweeps())': "ValueError: Could not find project 'none'",
    'api.sweep("p/none")': "CommError: Could not find sweep",
    'api.sweep("none/none")': "CommError: Could not find sweep",
    'api.artifact("p/none:v0")': "CommError: artifact membership 'none:v0' not found",
    'api.artifact("none/none:v0")': "CommError: project 'none' not found",
    'api.artifact_type("none", "p")': "CommError: Could not find artifact type",
    'api.artifact_collection("dataset", "p/none")': "CommError: Could not find artifact type",
    'list(api.artifacts("dataset", "p/none"))': "ValueError",
    'api.organization("none")': "CommError: Organization 'none' not found",
    "api.organization()": "CommError: Unable to find organization",
    'other.run("p/r")': "CommError: Could not find run",
    'list(other.runs("p"))': "ValueError: Could not find project p",
    'other.project("p").id': "ValueError: Project p not found",
    'other.sweep("p/none")': "CommError: Could not find sweep",
    'other.artifact("p/none:v0")': "CommError: project 'p' not found under entity 'nobody'",
    "other.organization()": "CommError: Unable to find organization",
}


@pytest.fixture(scope="module", autouse=True)
def made(up: Up) -> None:
    ask(up, 'api.create_run(run_id="r", project="p")\nshow(None)')


def test_errors_of_what_is_missing(up: Up) -> None:
    calls = ", ".join(f"lambda: {call}" for call in MISSING)
    found = ask(
        up,
        f"""
        other = wandb.Api(overrides={{"entity": "nobody"}})
        show([error(call) for call in ({calls})])
        """,
    )
    wrong = {
        call: told
        for (call, expected), told in zip(MISSING.items(), found, strict=True)
        if told is None or not told.startswith(expected)
    }
    assert wrong == {}
    # Nothing of what was asked for is there now.
    projects = up.get("/v1/projects")["projects"]
    assert [(each["entity"], each["project"]) for each in projects] == [("local", "p")]


def test_entities(up: Up) -> None:
    new_key(up, "keyed", "read")
    stranger = new_key(up, "strangers", "read", "write")
    names = ["local", "keyed", "strangers", "nobody", "", "no/body", "%", "ä"]
    aliased = " ".join(
        f"e{at}: entity(name: {json.dumps(name)}) {{ name }}" for at, name in enumerate(names)
    )
    code = f"found = graphql({('query Q { ' + aliased + ' }')!r})\nshow([e and e['name'] for e in found.values()])"
    assert ask(up, code) == ["local", "keyed", "strangers", None, "local", None, None, None]
    others = ask(up, code, key=stranger, entity="")
    assert others == [None, None, "strangers", None, "strangers", None, None, None]
    found = ask(
        up,
        """
        other = wandb.Api(overrides={"entity": "nobody"})
        show([other.settings["entity"], other.default_entity, list(other.projects()),
              [each.name for each in other.projects("local")], other.user("nobody"),
              [member.username for member in api.team("local").members]])
        """,
    )
    assert found == ["nobody", "local", [], ["p"], None, ["local"]]


def test_a_new_name_can_be_logged_to(up: Up) -> None:
    code = 'import wandb\nwandb.init(project="new", id="first").finish()\n'
    run_wandb(up, code).check()
    assert ask(up, 'show(api.run("new/first").id)') == "first"
