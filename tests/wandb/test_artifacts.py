"""Artifacts of the official client: logged, found, downloaded, changed, deleted."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack

import pytest
from support.artifact_scripts import (
    PAGE,
    PROJECT,
    START,
    create,
    said,
    sayings,
    upload_urls,
    versions,
)
from support.up import Up
from support.wandb_scripts import run_wandb, run_wandb_command, script_folder, start_wandb


@pytest.mark.smoke
def test_versions_and_aliases(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="versions") as run:
    first = artifact("versions", {"a.txt": "one"}, description="about", metadata={"k": [1, None]})
    log(run, first, aliases=["best"])
    log(run, artifact("versions", {"a.txt": "two"}), aliases=["best", "other"])
    same = log(run, artifact("versions", {"a.txt": "one"}), aliases=["again"])
    say(same.version)
api = wandb.Api()
say([each.version for each in api.artifacts("dataset", PROJECT + "/versions")])
first = api.artifact(PROJECT + "/versions:v0")
say([sorted(first.aliases), first.description, first.metadata, first.type, first.state, first.file_count])
second = api.artifact(PROJECT + "/versions:best")
say([second.version, sorted(second.aliases), second.size, contents(second.download())])
first.aliases.append("best")
first.description = "changed"
first.metadata["more"] = 2
first.tags = ["tag", "another tag"]
first.save()
first = api.artifact(PROJECT + "/versions:best")
say([first.version, first.description, first.metadata, sorted(first.tags)])
first.aliases.remove("again")
first.save()
say([api.artifact_exists(PROJECT + "/versions:" + a) for a in ("again", "best", "v1", "v2")])
say([each.name for each in api.artifact_types(PROJECT) if each.name == "dataset"])
say([api.artifact_type("dataset", PROJECT).collection("versions").aliases])
""",
    )
    assert found == [
        "v0",
        ["v1", "v0"],
        [["again", "latest"], "about", {"k": [1, None]}, "dataset", "COMMITTED", 1],
        ["v1", ["best", "other"], 3, {"a.txt": "two"}],
        ["v0", "changed", {"k": [1, None], "more": 2}, ["another tag", "tag"]],
        [False, True, True, False],
        ["dataset"],
        [["best", "latest", "other"]],
    ]
    assert [(each["version"], each["aliases"]) for each in versions(up, "versions")] == [
        ("v0", ["best", "latest"]),
        ("v1", ["other"]),
    ]


def test_equal_content_is_uploaded_once(up: Up) -> None:
    content = os.urandom(64).hex()
    (output,) = said(
        up,
        f"""
with wandb.init(project=PROJECT, id="once") as run:
    for name in ("once-a", "once-b"):
        log(run, artifact(name, {{"x": "{content}", "sub/y": "{content}", name: name}}))
api = wandb.Api()
say([contents(api.artifact(PROJECT + "/" + name + ":latest").download())["sub/y"]
     for name in ("once-a", "once-b")])
""",
    )
    assert output == [content, content]
    # The server has no address to upload it to again, whatever it is called.
    id = create(up, "once-c")
    assert upload_urls(up, id, {"z": content.encode(), "new": os.urandom(9)})[0] is None


def test_versions_that_change_only_a_part(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="parts") as run:
    first = log(run, artifact("parts", {"keep": "1", "drop": "2", "change": "3"}))
    draft = first.new_draft()
    draft.remove("drop")
    draft.remove("change")
    draft.add_file(write("changed", "4"), name="change")
    second = log(run, draft)
    third = wandb.Artifact("parts", type="dataset", incremental=True)
    third.add_file(write("added", "5"), name="add")
    third = log(run, third)
api = wandb.Api()
for version in ("v0", "v1", "v2"):
    found = api.artifact(PROJECT + "/parts:" + version)
    say(contents(found.download()))
    found.verify()
say(sorted(each.name for each in found.files()))
root = api.artifact(PROJECT + "/parts:v0").checkout("somewhere")
write("somewhere/extra", "x")
say(contents(api.artifact(PROJECT + "/parts:v1").checkout("somewhere")))
""",
    )
    assert found == [
        {"keep": "1", "drop": "2", "change": "3"},
        {"keep": "1", "change": "4"},
        {"keep": "1", "change": "4", "add": "5"},
        ["add", "change", "keep"],
        {"keep": "1", "change": "4"},
    ]


def test_references_stay_where_they_are(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="references") as run:
    made = artifact("references", {"here": "1"})
    made.add_reference("file://" + os.path.abspath(write("elsewhere/f", "2")), name="file")
    made.add_reference("file://" + os.path.abspath("elsewhere"), name="folder")
    made.add_reference("http://127.0.0.1:9/key?x=1", name="http", checksum=False)
    made.add_reference("custom-scheme://bucket/key", name="custom")
    log(run, made)
    other = wandb.Artifact("refers", type="dataset")
    other.add_reference(made.get_entry("here"), name="there")
    log(run, other)
api = wandb.Api()
made = api.artifact(PROJECT + "/references:latest")
say(sorted(each.name for each in made.files()))
say(made.get_entry("http").ref_target())
say(pathlib.Path(made.get_entry("folder/f").download()).read_text())
say(contents(api.artifact(PROJECT + "/refers:latest").download()))
""",
    )
    assert found == [
        ["custom", "file", "folder/f", "here", "http"],
        "http://127.0.0.1:9/key?x=1",
        "2",
        {"there": "1"},
    ]
    files = up.get(f"{PAGE}/references/v0/files")["files"]
    references = {each["path"]: each["reference"] for each in files}
    assert references["here"] is None
    assert references["custom"] == "custom-scheme://bucket/key"
    assert references["http"] == "http://127.0.0.1:9/key?x=1"


def test_names_of_every_kind(up: Up) -> None:
    names = ["a b.txt", "ü ☃/日本.txt", "per%20cent+plus&and?#.txt", "quote'\"\\.txt", "sub/./x"]
    (found, single) = said(
        up,
        f"""
names = {names!r}
with wandb.init(project=PROJECT, id="names") as run:
    made = wandb.Artifact("names-of.kind", type="a type")
    for number, name in enumerate(names):
        made.add_file(write(f"in/{{number}}", name), name=name)
    log(run, made, aliases=["an alias ☃"])
made = wandb.Api().artifact(PROJECT + "/names-of.kind:an alias ☃")
say(contents(made.download()))
say([pathlib.Path(made.get_entry(each.name).download("single")).read_text() for each in made.files()])
""",
    )
    kept = {name.replace("/./", "/"): name for name in names}
    assert found == kept
    assert sorted(single) == sorted(names)


def test_several_runs_upload_one_version(up: Up) -> None:
    code = """
def part(name):
    made = wandb.Artifact("together", type="dataset")
    made.add_file(write(name, name), name=name)
    return made
with wandb.init(project=PROJECT, id="together-" + sys.argv[1], group="together") as run:
    run.upsert_artifact(part(sys.argv[1]))
"""
    for number in range(2):
        run_wandb(up, START + code, f"part-{number}").check()
    assert versions(up, "together") == []
    finish = """
with wandb.init(project=PROJECT, id="together-end", group="together") as run:
    run.finish_artifact(part("last"))
say(contents(wandb.Api().artifact(PROJECT + "/together:latest").download()))
"""
    head, _, _ = code.partition("with wandb.init")
    assert said(up, head + finish) == [{name: name for name in ("part-0", "part-1", "last")}]
    assert [each["files"] for each in versions(up, "together")] == [3]


def test_lineage(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="maker") as run:
    log(run, artifact("lineage", {"a": "1"}))
with wandb.init(project=PROJECT, id="user") as run:
    used = run.use_artifact("lineage:latest")
    say(contents(used.download()))
    log(run, artifact("lineage-model", {"m": "1"}, type="model"))
api = wandb.Api()
run = api.run(PROJECT + "/user")
say([[each.name for each in run.used_artifacts()], [each.name for each in run.logged_artifacts()]])
used = api.artifact(PROJECT + "/lineage:v0")
say([[each.id for each in used.used_by()], used.logged_by().id])
""",
    )
    assert found == [{"a": "1"}, [["lineage:v0"], ["lineage-model:v0"]], [["user"], "maker"]]
    run = up.get(f"/v1/runs/local/{PROJECT}/user/artifacts")
    assert [(each["name"], each["run"]) for each in run["used"]] == [("lineage", "maker")]
    assert [each["name"] for each in run["logged"]] == ["lineage-model"]


def test_links(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="links") as run:
    for content in "12":
        made = log(run, artifact("linked", {"a": content}, type="model"))
        run.link_artifact(made, PROJECT + "/portfolio", aliases=["prod" + content])
api = wandb.Api()
link = api.artifact(PROJECT + "/portfolio:prod1")
say([link.is_link, link.version, link.source_name, contents(link.download())])
say(sorted(api.artifact(PROJECT + "/portfolio:latest").aliases))
source = api.artifact(PROJECT + "/linked:v1")
say([each.name for each in source.linked_artifacts])
link.unlink()
say([api.artifact_exists(PROJECT + "/" + n) for n in ("portfolio:prod1", "portfolio:v1", "linked:v0")])
""",
    )
    assert found == [
        [True, "v0", "linked:v0", {"a": "1"}],
        ["latest", "prod2"],
        ["portfolio:v1"],
        [False, True, True],
    ]


def test_deletion(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="deleting") as run:
    for content in "123":
        log(run, artifact("deleting", {"a": content}))
api = wandb.Api()
try:
    api.artifact(PROJECT + "/deleting:v2").delete()
    say("deleted")
except Exception as error:
    say("aliases" in str(error))
api.artifact(PROJECT + "/deleting:v0").delete()
api.artifact(PROJECT + "/deleting:v2").delete(delete_aliases=True)
say([each.version for each in api.artifacts("dataset", PROJECT + "/deleting")])
say(api.artifact(PROJECT + "/deleting:latest").version)
with wandb.init(project=PROJECT, id="deleting") as run:
    say(log(run, artifact("deleting", {"a": "3"})).version)
api = wandb.Api()
say([each.name for each in api.run(PROJECT + "/deleting").logged_artifacts()])
api.artifact_collection("dataset", PROJECT + "/deleting").delete()
say([api.artifact_exists(PROJECT + "/deleting:" + each) for each in ("latest", "v1", "v3")])
""",
    )
    assert found == [True, ["v1"], "v1", "v3", ["deleting:v1", "deleting:v3"], [False] * 3]


def test_collections_are_changed(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="changing") as run:
    log(run, artifact("changing", {"a": "1"}))
api = wandb.Api()
collection = api.artifact_collection("dataset", PROJECT + "/changing")
collection.description, collection.tags, collection.name = "about", ["one", "two"], "changed"
collection.save()
collection.type = "model"
collection.tags = ["two"]
collection.save()
changed = api.artifact_collection("model", PROJECT + "/changed")
say([changed.description, sorted(changed.tags), changed.type, changed.aliases])
say([each.name for each in api.artifact_collections(PROJECT, "model") if each.name == "changed"])
say(api.artifact(PROJECT + "/changed:v0").type)
""",
    )
    assert found == [["about", ["two"], "model", ["latest"]], ["changed"], "model"]


def test_tables(up: Up) -> None:
    found = said(
        up,
        """
with wandb.init(project=PROJECT, id="tables") as run:
    table = wandb.Table(columns=["a", "b"], data=[[1, "x"], [2, None]])
    run.log({"table": table})
    made = wandb.Artifact("tables", type="tables")
    made.add(wandb.Table(columns=["c"], data=[[3.5]]), "inner")
    log(run, made)
with wandb.init(project=PROJECT, id="reader") as run:
    say(run.use_artifact("tables:latest").get("inner").data)
    say(run.use_artifact("run-tables-table:latest").get("table").data)
""",
    )
    assert found == [[[3.5]], [[1, "x"], [2, None]]]


def test_a_type_is_kept(up: Up) -> None:
    (message,) = said(
        up,
        """
with wandb.init(project=PROJECT, id="types") as run:
    log(run, artifact("typed", {"a": "1"}))
    try:
        log(run, artifact("typed", {"a": "2"}, type="model"))
    except ValueError as error:
        say(str(error))
""",
    )
    assert "already exists with type 'dataset'" in message
    assert [each["type"] for each in versions(up, "typed")] == ["dataset"]
    # The client asks first; whoever does not is refused all the same.
    with pytest.raises(RuntimeError, match="already exists with type 'dataset'"):
        create(up, "typed", type="model")


def test_artifacts_of_an_offline_run(up: Up) -> None:
    folder = script_folder(up)
    code = """
with wandb.init(project=PROJECT, id="offline", mode="offline") as run:
    run.log_artifact(artifact("offline", {"a": "1", "b": "2"}), aliases=["later"])
    run.log({"table": wandb.Table(columns=["a"], data=[[1]])})
"""
    done = run_wandb(up, START + code, folder=folder).check()
    (offline,) = done.run_folders("offline")
    run_wandb_command(up, "sync", str(offline), folder=folder).check()
    (version,) = versions(up, "offline")
    assert (version["aliases"], version["files"], version["run"]) == (
        ["later", "latest"],
        2,
        "offline",
    )
    assert [each["version"] for each in versions(up, "run-offline-table")] == ["v0"]


def test_the_command_line(up: Up) -> None:
    folder = script_folder(up)
    (folder / "data-in" / "sub").mkdir(parents=True)
    (folder / "data-in" / "sub" / "a.txt").write_text("from the command line")
    name = f"local/{PROJECT}/by-command"
    put = ("artifact", "put", "-n", name, "-t", "dataset", "-a", "v-one", "data-in")
    run_wandb_command(up, *put, folder=folder).check()
    run_wandb_command(
        up, "artifact", "get", f"{name}:v-one", "--root", "out", folder=folder
    ).check()
    assert (folder / "out" / "sub" / "a.txt").read_text() == "from the command line"
    listed = run_wandb_command(up, "artifact", "ls", f"local/{PROJECT}", folder=folder).check()
    assert re.search(r"dataset\s.*by-command:v0", listed.stdout + listed.stderr)


def test_clients_that_commit_at_once_get_versions_of_their_own(up: Up) -> None:
    code = (
        START
        + """
with wandb.init(project=PROJECT, id="at-once-" + sys.argv[1]) as run:
    for number in range(5):
        made = log(run, artifact("at-once", {"a": f"{sys.argv[1]} {number}"}), aliases=["best"])
        say([made.version, sys.argv[1], number])
"""
    )
    with ExitStack() as stack:
        scripts = [stack.enter_context(start_wandb(up, code, str(each))) for each in range(2)]
        ended = [script.wait().check() for script in scripts]
    logged = [each for done in ended for each in sayings(done.stdout)]
    assert sorted(version for version, _, _ in logged) == [f"v{n}" for n in range(10)]
    found = versions(up, "at-once")
    assert [each["version"] for each in found] == [f"v{n}" for n in range(10)]
    assert found[-1]["aliases"] == ["best", "latest"]
    assert [each["aliases"] for each in found[:-1]] == [[]] * 9
