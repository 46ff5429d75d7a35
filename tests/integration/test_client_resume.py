"""A run that is taken up again is the run that it was, also if the server is away; what goes on beside it stays."""

from __future__ import annotations

import json

import pytest
from support.ledger import Ledger
from support.scripts import Scripts

FIRST = """
import penstock
run = penstock.init(project="p", id="one", name="mine", config={"lr": 0.1, "depth": 3}, tags=["a"], notes="n")
for step in range(5): run.log({"a": 1.0})
run.summary["best"] = 5
run.finish()
"""
AGAIN = """
import json, penstock
run = penstock.init(project="p", id="one", resume=%r, config={"lr": 0.2})
print("found", json.dumps([run.resumed, run.step, run.name, list(run.tags), run.notes, dict(run.config),
                           run.summary.get("best"), run.summary.get("a")]))
for step in range(5): run.log({"a": 2.0})
run.finish()
"""


def starts(ledger: Ledger) -> dict[str, tuple[str, int]]:
    return {each.writer: (each.start.kind, each.start.step) for each in ledger.batches()}


def found(said: str) -> list[object]:
    line = next(line for line in said.splitlines() if line.startswith("found "))
    found: list[object] = json.loads(line.removeprefix("found "))
    return found


@pytest.mark.parametrize("resume", ["must", "allow", "auto", True])
def test_a_resumed_run_is_what_it_was(scripts: Scripts, ledger: Ledger, resume: object) -> None:
    scripts.run(FIRST)
    said = scripts.run(AGAIN % resume)
    assert found(said) == [True, 5, "mine", ["a"], "n", {"lr": 0.2, "depth": 3}, 5, None]
    assert {step for _, step in ledger.points()} == set(range(10))
    assert sorted(starts(ledger).values()) == [("", 0), ("resume", 5)]
    # It has not said again what the server knows.
    assert [each.get("name") for each in ledger.records("run")].count("mine") == 1
    assert {"lr": 0.2} in [each["update"] for each in ledger.records("config")]


def test_without_a_server_this_machine_knows_the_last_step(
    scripts: Scripts, ledger: Ledger
) -> None:
    scripts.environment |= {"PENSTOCK_BASE_URL": "http://127.0.0.1:9", "PENSTOCK_MODE": "offline"}
    scripts.run(FIRST)
    said = scripts.run(AGAIN % "allow")
    assert found(said)[:2] == [True, 5]


def test_without_any_knowledge_nothing_is_replaced(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run(
        AGAIN.replace("run.finish()", "run.finish(timeout_s=0)") % "allow",
        PENSTOCK_BASE_URL="http://127.0.0.1:9",
    )
    assert "beside what the run has logged before" in said
    assert found(said)[:2] == [True, 0]
    (meta,) = [json.loads(path.read_text()) for path in scripts.root.glob("*/meta.json")]
    assert meta["start"] == "beside"


def test_who_joins_a_run_that_goes_on_replaces_nothing(scripts: Scripts, ledger: Ledger) -> None:
    """A forked child, and an evaluation with the run's id on the same machine."""
    scripts.run("""
import os, subprocess, sys, penstock
run = penstock.init(project="p", id="one")
for step in range(50): run.log({"a": 1.0})
if os.fork() == 0:
    run.log({"b": 1.0}, step=10)
    os._exit(0)
os.wait()
code = "import penstock\\nwith penstock.init(project='p', id='one', resume='allow') as run: run.log({'c': 1.0}, step=49)"
subprocess.run([sys.executable, "-c", code], check=True)
run.log({"a": 1.0})
run.finish()
""")
    assert sorted(kind for kind, _ in starts(ledger).values()) == ["", "beside", "beside"]


def test_auto_takes_up_what_did_not_finish(scripts: Scripts, ledger: Ledger) -> None:
    code = """
import os, sys, penstock
run = penstock.init(project="p", resume="auto")
print("id", run.id, run.resumed, flush=True)
run.log({"a": 1.0})
"""
    ids = []
    for end in ("os._exit(1)", "sys.exit(1)", "run.finish()", "run.finish()"):
        said = scripts.run(code + end, status=0 if end == "run.finish()" else 1)
        ids.append(next(line for line in said.splitlines() if line.startswith("id ")).split()[1:])
    assert [resumed for _, resumed in ids] == ["False", "True", "True", "False"]
    assert ids[0][0] == ids[1][0] == ids[2][0] != ids[3][0]


def test_points_that_were_replaced_are_counted_and_said(scripts: Scripts, ledger: Ledger) -> None:
    said = scripts.run("""
import penstock
with penstock.init(project="p") as run:
    for fold in range(3):
        for step in range(20): run.log({"loss": fold}, step=step)
""")
    assert "is stored" in said
    assert "40 points were replaced" in said  # in one batch: known without the server's ledger
