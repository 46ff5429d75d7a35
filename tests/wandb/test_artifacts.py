"""Artifacts of the official client: logged, found, downloaded, changed, deleted."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.api_keys import new_key
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb, run_wandb_command, script_folder, start_wandb

PROJECT = "artifacts"
PAGE = f"/v1/projects/local/{PROJECT}/artifacts"
START = f"""
import hashlib, json, os, sys, pathlib, wandb
PROJECT = {PROJECT!r}
def write(name, content):
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return name
def artifact(name, files, type="dataset", **options):
    made = wandb.Artifact(name, type=type, **options)
    for file, content in files.items():
        made.add_file(write("in/" + name + "/" + file, content), name=file)
    return made
def log(run, made, **options):
    run.log_artifact(made, **options)
    return made.wait()
def contents(folder):
    root = pathlib.Path(folder)
    return {{str(p.relative_to(root)): p.read_bytes().decode() for p in root.rglob("*") if p.is_file()}}
def say(value):
    print("SAID " + json.dumps(value))
"""


def said(up: Up, code: str, *arguments: str, **options: Any) -> list[Any]:
    """What a script says."""
    done = run_wandb(up, START + code, *arguments, **options).check()
    return sayings(done.stdout)


def sayings(output: str) -> list[Any]:
    return [json.loads(line[5:]) for line in output.splitlines() if line.startswith("SAID ")]


def versions(up: Up, name: str) -> list[dict[str, Any]]:
    """The versions of a collection, the oldest first, as Penstock's own API has them."""
    found: list[dict[str, Any]] = up.get(f"{PAGE}/{name}")["versions"]
    return found[::-1]


def blobs(up: Up) -> int:
    return sum(1 for path in (up.folder / "data" / "blobs" / "sha256").rglob("*") if path.is_file())


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


# -- what is wrong is refused


def test_other_content_than_announced_is_refused(up: Up) -> None:
    content = os.urandom(1_000)
    id = create(up, "tampered")
    (url,) = upload_urls(up, id, {"a": content})
    with pytest.raises(HTTPError, match="400"):
        put(url, b"something else")
    for wrong in (url.replace("signature=", "signature=x"), url.replace("PUT", "GET")[:-3]):
        with pytest.raises(HTTPError, match="403"):
            put(wrong, content)
    other = url.replace(hashlib.md5(content).hexdigest(), hashlib.md5(b"x").hexdigest())  # noqa: S324
    with pytest.raises(HTTPError, match="403"):
        put(other, b"x")
    manifest = manifest_of({"a": content})
    with pytest.raises(HTTPError, match="400"):
        put(manifest_url(up, id, manifest), manifest + b" ")
    with pytest.raises(RuntimeError, match="manifest was not uploaded"):
        commit(up, id)
    put(manifest_url(up, id, manifest), manifest)
    with pytest.raises(RuntimeError, match="not complete: 1 of its 1 files"):
        commit(up, id)
    put(url, content)
    for _ in range(2):
        commit(up, id)
    assert [each["version"] for each in versions(up, "tampered")] == ["v0"]
    assert upload_urls(up, create(up, "tampered-too"), {"b": content}) == [None]
    with pytest.raises(RuntimeError, match="committed"):
        upload_urls(up, id, {"b": b"more"})


@pytest.mark.parametrize(
    "manifest",
    [
        b"no JSON",
        b"[]",
        b'{"version": 2, "contents": {}}',
        b'{"version": 1}',
        b'{"version": 1, "contents": {"../up": {"digest": "x"}}}',
        b'{"version": 1, "contents": {"/root": {"digest": "x", "ref": "s3://x"}}}',
        b'{"version": 1, "contents": {"a": {"ref": "s3://x"}}}',
        b'{"version": 1, "contents": {"a": null}}',
    ],
)
def test_bad_manifests_are_refused(up: Up, manifest: bytes) -> None:
    id = create(up, "bad-manifest")
    put(manifest_url(up, id, manifest), manifest)
    with pytest.raises(RuntimeError, match="manifest"):
        commit(up, id)
    assert versions(up, "bad-manifest") == []


def test_other_entities_learn_nothing(up: Up) -> None:
    """Neither that a content is here nor what it is, by its hash or by an id."""
    content = os.urandom(100)
    id = create(up, "secret")
    (url,) = upload_urls(up, id, {"a": content})
    put(url, content)
    manifest = manifest_of({"a": content})
    put(manifest_url(up, id, manifest), manifest)
    commit(up, id)
    stranger = new_key(up, "stranger", "read", "write")
    own = create(up, "mine", key=stranger, entity="stranger")
    (url,) = upload_urls(up, own, {"a": content}, key=stranger)
    assert url is not None
    put(manifest_url(up, own, manifest, key=stranger), manifest)
    with pytest.raises(RuntimeError, match="not complete"):
        commit(up, own, key=stranger)
    assert ask(up, "query Q($id: ID!) { artifact(id: $id) { id } }", {"id": id}, key=stranger) == {
        "artifact": None
    }
    for mutation in ("commitArtifact", "deleteArtifact", "updateArtifact"):
        query = f"mutation M($id: ID!) {{ {mutation}(input: {{artifactID: $id}}) {{ artifact {{ id }} }} }}"
        with pytest.raises(RuntimeError, match="could not find"):
            ask(up, query, {"id": id}, key=stranger)
    digits = hashlib.md5(content).hexdigest()  # noqa: S324
    path = f"{up.url}/artifactsV2/default/local/{PROJECT}/secret//{digits}/a"
    assert get(path, up.api_key) == content
    for key in (stranger, ""):
        with pytest.raises(HTTPError, match="404" if key else "401"):
            get(path, key)


def test_a_killed_upload_is_done_again(up: Up) -> None:
    code = (
        START
        + """
with wandb.init(project=PROJECT, id=sys.argv[1]) as run:
    made = wandb.Artifact("killed", type="dataset")
    for number in range(20):
        with open(f"big{number}", "wb") as file:
            file.write(hashlib.sha512(bytes([number])).digest() * 100_000)
        made.add_file(f"big{number}")
    print("READY", flush=True)
    log(run, made)
    say([made.version, len(list(made.files()))])
    made.verify(made.download())
"""
    )
    before = blobs(up)
    with start_wandb(up, code, "killed-1") as script:
        wait_until(lambda: script.says("READY") and blobs(up) > before + 1)
        script.kill()
    assert versions(up, "killed") == []
    (found,) = sayings(run_wandb(up, code, "killed-2").check().stdout)
    assert found == ["v0", 20]
    assert [each["run"] for each in versions(up, "killed")] == ["killed-2"]


# -- much


@pytest.mark.heavy
def test_a_thousand_files(up: Up) -> None:
    found = said(
        up,
        """
files = {f"{n % 10}/file {n}.txt": f"content {n}" for n in range(1000)}
with wandb.init(project=PROJECT, id="thousand") as run:
    log(run, artifact("thousand", files))
made = wandb.Api().artifact(PROJECT + "/thousand:latest")
say([made.file_count, contents(made.download()) == files, len(list(made.files(per_page=300)))])
""",
    )
    assert found == [[1000, True, 1000]]
    names: list[str] = []
    after: dict[str, str] = {}
    while True:
        query = "&".join(f"{key}={value}" for key, value in {"limit": "400", **after}.items())
        page = up.get(f"{PAGE}/thousand/v0/files?{query.replace(' ', '%20')}")
        names += [each["path"] for each in page["files"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(names) == len(set(names)) == page["total"] == 1000


@pytest.mark.heavy
@pytest.mark.timeout(240)
def test_a_large_file(up: Up) -> None:
    found = said(
        up,
        """
with open("large", "wb") as file:
    for number in range(200):
        file.write(hashlib.sha512(b"%d" % number).digest() * 16_384)
with wandb.init(project=PROJECT, id="large") as run:
    made = wandb.Artifact("large", type="dataset")
    made.add_file("large", policy="immutable")
    log(run, made)
made = wandb.Api().artifact(PROJECT + "/large:latest")
for multipart in (False, True):
    folder = made.download(f"out-{multipart}", skip_cache=True, multipart=multipart)
    say(hashlib.sha256(pathlib.Path(folder, "large").read_bytes()).hexdigest()
        == hashlib.sha256(pathlib.Path("large").read_bytes()).hexdigest())
say(made.size)
""",
        timeout_s=200,
    )
    assert found == [True, True, 200 * 2**20]


# -- the protocol by hand


def ask(up: Up, query: str, variables: Mapping[str, Any], key: str = "") -> Any:
    """The data of an operation. Raises `RuntimeError` with its errors."""
    request = Request(
        f"{up.url}/graphql", json.dumps({"query": query, "variables": variables}).encode()
    )
    request.add_header("Authorization", f"Bearer {key or up.api_key}")
    request.add_header("Content-Type", "application/json")
    with urlopen(request, timeout=30) as reply:
        answer = json.loads(reply.read())
    if answer.get("errors"):
        raise RuntimeError(answer["errors"][0]["message"])
    return answer["data"]


def create(
    up: Up, name: str, *, type: str = "dataset", key: str = "", entity: str = "local"
) -> str:
    """The id of a new, pending version."""
    query = "mutation M($input: X!) { createArtifact(input: $input) { artifact { id state } } }"
    input = {
        "entityName": entity, "projectName": PROJECT, "artifactTypeName": type,
        "artifactCollectionName": name, "digest": os.urandom(16).hex(),
    }  # fmt: skip
    artifact = ask(up, query, {"input": input}, key)["createArtifact"]["artifact"]
    assert artifact["state"] == "PENDING"
    return str(artifact["id"])


def upload_urls(up: Up, id: str, files: Mapping[str, bytes], key: str = "") -> list[Any]:
    query = """mutation M($files: X!) { createArtifactFiles(input: {artifactFiles: $files}) {
        files { edges { node { uploadUrl } } } } }"""
    wanted = [
        {"artifactID": id, "name": name, "md5": md5(content)} for name, content in files.items()
    ]
    edges = ask(up, query, {"files": wanted}, key)["createArtifactFiles"]["files"]["edges"]
    return [edge["node"]["uploadUrl"] for edge in edges]


def manifest_url(up: Up, id: str, manifest: bytes, key: str = "") -> str:
    query = """mutation M($id: ID!, $digest: String) {
        createArtifactManifest(input: {artifactID: $id, digest: $digest}) {
        artifactManifest { file { uploadUrl } } } }"""
    answer = ask(up, query, {"id": id, "digest": md5(manifest)}, key)
    return str(answer["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"])


def commit(up: Up, id: str, key: str = "") -> None:
    query = """mutation M($id: ID!) {
        commitArtifact(input: {artifactID: $id}) { artifact { id digest } } }"""
    ask(up, query, {"id": id}, key)


def manifest_of(files: Mapping[str, bytes]) -> bytes:
    contents = {
        name: {"digest": md5(content), "size": len(content)} for name, content in files.items()
    }
    return json.dumps({"version": 1, "contents": contents}).encode()


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()  # noqa: S324


def put(url: str, content: bytes) -> None:
    with urlopen(Request(url, content, method="PUT"), timeout=30) as reply:
        assert reply.status == 200


def get(url: str, key: str) -> bytes:
    request = Request(url)
    if key:
        text = base64.b64encode(f"api:{key}".encode()).decode()
        request.add_header("Authorization", f"Basic {text}")
    with urlopen(request, timeout=30) as reply:
        content: bytes = reply.read()
        return content
