"""Numbers keep their digits and their kind, and the texts "NaN" and "Infinity" stay texts, as far as the
client itself sends them so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

WHOLE: dict[str, Any] = {
    "int64": 2**63 - 1,
    "above": 2**63,
    "uint64": 2**64 - 1,
    "behind": 2**64,
    "long": 2**70 + 1,
    "longer": 10**200 + 7,
    "lowest": -(2**63),
    "below": -(2**63) - 1,
    "far below": -(2**70) - 1,
    "seed": 2**53 + 1,
    "list": [2**63 + 1, -(2**64) - 1, [10**30 + 1, {"x": 2**80 + 1}]],
    "nested": {"x": {"y": 2**65 + 1}},
}
KINDS: dict[str, Any] = {
    "float": 3.0,
    "whole": 3,
    "large": 1e22,
    "small": 1e-7,
    "exponent": 1e300,
    "negative zero": -0.0,
    "digits in a text": "12345678901234567890123",
    "true": True,
    "nothing": None,
    "text": "NaN",
    "texts": ["NaN", "Infinity", "-Infinity", {"x": "NaN"}],
    "other text": "-Infinity",
}
_EDIT = """
import json, sys, wandb
api = wandb.Api()
given = json.loads(sys.argv[1])
api.create_run(run_id="r", project="digits")
run = api.run("digits/r")
run.config.update({**given, "nan": float("nan"), "inf": [float("inf"), float("-inf")]})
run.update()
run.summary.update(given)
"""


@pytest.fixture(scope="module", autouse=True)
def edited(up: Up) -> None:
    run_wandb(up, _EDIT, json.dumps({**WHOLE, **KINDS})).check()


def same(found: Any, expected: Any) -> bool:
    """Equal, of the same types, down to the sign of a zero."""
    return repr(found) == repr(expected)


@pytest.mark.parametrize("of", ["config", "summary_metrics"])
def test_what_was_edited_comes_back_digit_for_digit(up: Up, of: str) -> None:
    """As text, so that nothing between here and there can round it."""
    one, listed = ask(
        up,
        f"""
        runs = api.runs("digits", filters={{"name": "r"}})
        show([json.dumps(dict(run.{of})) for run in (api.run("digits/r"), runs[0])])
        """,
    )
    for text in (one, listed):
        found = json.loads(text)
        wrong = {
            key: found.get(key)
            for key, value in {**WHOLE, **KINDS}.items()
            if not same(found.get(key), value)
        }
        assert wrong == {}


def test_real_ones_are_no_texts(up: Up) -> None:
    text = ask(up, 'show(json.dumps(api.run("digits/r").config))')
    found = json.loads(text)
    assert found["nan"] != found["nan"]
    assert found["inf"] == [float("inf"), float("-inf")]


def test_other_readers_have_the_same_digits(up: Up) -> None:
    page = up.get("/v1/runs/local/digits/r")
    own = up.run_python(
        "import json, penstock\n"
        'print(json.dumps(dict(penstock.Api().run("local/digits/r").config)))'
    )
    assert own.returncode == 0, own.stderr
    [row] = up.get("/v1/projects/local/digits/runs?search=r")["runs"]
    for config in (page["config"], page["summary"], json.loads(own.stdout), row["config"]):
        wrong = {key: config.get(key) for key, value in WHOLE.items() if config.get(key) != value}
        assert wrong == {}


def test_an_edit_of_something_else_changes_no_digit(up: Up) -> None:
    text = ask(
        up,
        """
        run = api.run("digits/r")
        run.notes = "edited"
        run.config["new"] = 2**66 + 1
        run.update()
        show(json.dumps(wandb.Api().run("digits/r").config))
        """,
    )
    found = json.loads(text)
    assert found["new"] == 2**66 + 1
    assert {key: found[key] for key in WHOLE} == WHOLE


def test_runs_are_found_by_such_numbers(up: Up) -> None:
    found = ask(
        up,
        """
        filters = [{"config.long": 2**70 + 1}, {"config.below": -2**63 - 1}, {"config.uint64": 2**64 - 1},
                   {"config.text": "NaN"}, {"config.long": {"$lt": 2**60}}, {"config.longer": {"$gt": 1}}]
        show([[run.id for run in api.runs("digits", filters=each)] for each in filters])
        """,
    )
    assert found == [["r"], ["r"], ["r"], ["r"], [], ["r"]]


def test_what_the_client_logs(up: Up) -> None:
    """It makes floats of whole numbers from 2^63 on, and whole numbers of floats like 3.0, itself."""
    code = """
import wandb
nan, inf = float("nan"), float("inf")
with wandb.init(project="logged", id="r", config={"above": 2**63, "seed": 2**53 + 1, "lowest": -2**63,
                "text": "NaN", "list": ["Infinity", 2**62 + 1], "inf": inf}) as run:
    run.log({"x": nan, "text": "NaN", "list": [1, "NaN", 2**53 + 1], "seed": 2**40 + 1, "d": {"t": "Infinity"}})
    run.log({"x": inf, "text": "-Infinity", "list": [2], "seed": 2**41 + 1, "d": {"t": "x"}})
    run.summary["last"] = 2**53 + 1
"""
    run_wandb(up, code).check()
    config, summary, rows = (
        json.loads(text)
        for text in ask(
            up,
            """
            run = api.run("logged/r")
            show([json.dumps(each) for each in
                  (run.config, dict(run.summary_metrics), list(run.scan_history()))])
            """,
        )
    )
    assert config["above"] == 2**63
    assert same(config["seed"], 2**53 + 1)
    assert same(config["lowest"], -(2**63))
    assert (config["text"], config["inf"]) == ("NaN", float("inf"))
    assert same(config["list"], ["Infinity", 2**62 + 1])
    assert same(summary["last"], 2**53 + 1)
    assert (summary["text"], summary["x"], summary["d"]) == ("-Infinity", float("inf"), {"t": "x"})
    assert rows[0]["x"] != rows[0]["x"]
    assert rows[1]["x"] == float("inf")
    assert [row["text"] for row in rows] == ["NaN", "-Infinity"]
    assert [row["d.t"] for row in rows] == ["Infinity", "x"]
    assert same([row["seed"] for row in rows], [2**40 + 1, 2**41 + 1])
    assert same([row["list"] for row in rows], [[1, "NaN", 2**53 + 1], [2]])
