"""Odd names end well in both clients: the run is finished, and all its rows are there."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from support.up import Up
from support.wandb_scripts import run_wandb

NAMES = ["{run}", "a+b", "e\u0301\u2028x"]


def check(up: Up, project: str, run: str) -> None:
    found = up.get(f"/v1/runs/local/{quote(project, safe='')}/{quote(run, safe='')}")
    assert found["state"] == "finished", json.dumps(found)
    assert found["summary"]["x"] == 9


@pytest.mark.parametrize("name", NAMES)
def test_the_official_client_ends_well(up: Up, name: str) -> None:
    code = f"""
import wandb
run = wandb.init(project="names", id={name!r})
for i in range(10):
    run.log({{"x": i}})
run.finish()
assert wandb.Api().run(f"names/{{run.id}}").state == "finished"
"""
    run_wandb(up, code).check()
    check(up, "names", name)


@pytest.mark.parametrize("name", ["100%", "a%20b"])
def test_the_official_client_is_told_what_it_cannot_log_to(up: Up, name: str) -> None:
    """It would put the name unescaped into an address: its lines would reach another run, or none."""
    done = run_wandb(up, f"import wandb\nwandb.init(project='names', id={name!r})")
    assert done.code != 0
    assert "'%'" in done.stderr


@pytest.mark.parametrize("name", [*NAMES, "100%", "a;b?c#d,e"])
def test_our_own_client_ends_well(up: Up, name: str) -> None:
    code = f"""
import penstock
run = penstock.init(project={name!r}, id={name!r})
for i in range(10):
    run.log({{"x": i}})
run.finish()
"""
    done = up.run_python(code)
    assert done.returncode == 0, done.stderr
    check(up, name, name)
