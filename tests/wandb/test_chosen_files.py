"""Files chosen by names or a pattern: as many are counted as are listed, and what is missing is missing."""

from __future__ import annotations

import pytest
from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

pytestmark = pytest.mark.heavy

_LOG = """
import os, wandb
os.makedirs("f/sub")
for name in ("a.txt", "b.txt", "c.bin", "sub/d.txt"):
    open(f"f/{name}", "w").write(name)
run = wandb.init(project="files", id="r")
for name in ("a.txt", "b.txt", "c.bin", "sub/d.txt"):
    run.save(f"f/{name}", base_path="f")
artifact = wandb.Artifact("ds", "dataset")
artifact.add_dir("f")
run.log_artifact(artifact)
run.finish()
wandb.init(project="files", id="bare", settings=wandb.Settings(x_disable_meta=True)).finish()
"""


@pytest.fixture(scope="module", autouse=True)
def logged(up: Up) -> None:
    run_wandb(up, _LOG).check()


def counted(up: Up, of: str, *choices: str) -> list[list[object]]:
    """For each choice, the length and the names of the list."""
    made = "".join(f"({of}.files({choice}), {of}.files({choice}))," for choice in choices)
    found: list[list[object]] = ask(
        up, f"show([[len(a), sorted(file.name for file in b)] for a, b in [{made}]])"
    )
    return found


def test_files_of_a_run(up: Up) -> None:
    found = counted(
        up,
        'api.run("files/r")',
        'names=["a.txt"]',
        'names=["a.txt", "sub/d.txt", "missing"], per_page=1',
        'names=["missing"]',
        'names=["./a.txt", "../a.txt", "/", ""]',
        'pattern="%.bin"',
        'pattern="_.t%", per_page=1',
        'pattern="nothing%"',
    )
    assert found == [
        [1, ["a.txt"]],
        [2, ["a.txt", "sub/d.txt"]],
        [0, []],
        [1, ["a.txt"]],
        [1, ["c.bin"]],
        [2, ["a.txt", "b.txt"]],
        [0, []],
    ]
    [[total, names]] = counted(up, 'api.run("files/r")', "per_page=2")
    assert isinstance(names, list)
    assert total == len(names) > 4


def test_files_of_an_artifact(up: Up) -> None:
    found = counted(
        up,
        'api.artifact("files/ds:v0")',
        "",
        'names=["a.txt"]',
        'names=["a.txt", "sub/d.txt", "missing"], per_page=1',
        'names=["missing"]',
        "per_page=1",
    )
    everything = ["a.txt", "b.txt", "c.bin", "sub/d.txt"]
    assert found == [
        [4, everything],
        [1, ["a.txt"]],
        [2, ["a.txt", "sub/d.txt"]],
        [0, []],
        [4, everything],
    ]


def test_two_lists_beside_each_other_do_not_mix(up: Up) -> None:
    query = """query Q { project(name: "files") { run(name: "r") {
        first: files(names: ["a.txt"]) { edges { node { name } } }
        again: files(names: ["missing"]) { edges { node { name } } } }
        counted: run(name: "r") { fileCount files(names: ["a.txt", "b.txt"]) { edges { node { name } } } }
        every: run(name: "r") { fileCount } } }"""
    found = ask(up, f"show(graphql({query!r}))")["project"]
    assert [edge["node"]["name"] for edge in found["run"]["first"]["edges"]] == ["a.txt"]
    assert found["run"]["again"]["edges"] == []
    assert found["counted"]["fileCount"] == 2
    assert found["every"]["fileCount"] > 4


def test_restore(up: Up) -> None:
    found = ask(
        up,
        """
        path = "local/files/r"
        def restored(name, path=path):
            found = wandb.restore(name, run_path=path, root="restored", replace=True)
            return found and found.read()
        odd = ["missing", "sub", "sub/missing", "../a.txt", "a.txt/", "%.txt", "ä\\u2028"]
        show([restored("a.txt"), restored("sub/d.txt"), [restored(name) for name in odd[:4]],
              [restored(name) for name in odd[5:]], restored("missing", "local/files/bare"),
              error(lambda: restored("a.txt", "local/files/none")),
              error(lambda: restored("a.txt", "local/none/r")),
              error(lambda: restored("a.txt", "nobody/files/r")),
              error(lambda: wandb.restore("a.txt"))])
        """,
    )
    whole, nested, odd, more, bare, no_run, no_project, no_entity, no_path = found
    assert (whole, nested) == ("a.txt", "sub/d.txt")
    assert (odd, more, bare) == ([None] * 4, [None] * 2, None)
    assert no_run.startswith("CommError: Could not find run")
    assert no_project.startswith("CommError: Could not find run")
    assert no_entity.startswith("CommError: Could not find run")
    assert no_path.startswith("ValueError: run_path required")


def test_restore_within_a_run(up: Up) -> None:
    code = """
import wandb
with wandb.init(project="files", id="own") as run:
    assert wandb.restore("missing") is None
    assert run.restore("missing") is None
    assert run.restore("a.txt", run_path="local/files/r").read() == "a.txt"
print("done")
"""
    assert "done" in run_wandb(up, code).check().stdout
