"""Contents of artifacts on their way in: checked, kept apart, sent again, many and large."""

from __future__ import annotations

import hashlib
import os
from urllib.error import HTTPError

import pytest
from support.api_keys import new_key
from support.artifact_scripts import (
    PAGE,
    PROJECT,
    START,
    ask,
    blobs,
    commit,
    create,
    get,
    manifest_of,
    manifest_url,
    put,
    said,
    sayings,
    upload_urls,
    versions,
)
from support.up import Up, wait_until
from support.wandb_scripts import run_wandb, start_wandb

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
