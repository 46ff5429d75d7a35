"""Storage regions: there are none, and an artifact that asks for one is refused by name."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

from support.up import Up
from support.wandb_answers import ask
from support.wandb_scripts import run_wandb

_LOG = """
import sys, wandb
open("a.txt", "w").write("a")
with wandb.init(project="regions") as run:
    artifact = wandb.Artifact("ds", "dataset", storage_region=sys.argv[1] or None)
    artifact.add_file("a.txt")
    try:
        run.log_artifact(artifact).wait()
    except ValueError as error:
        print("REFUSED", error)
    run.log({"goes on": 1})
"""


def test_an_unknown_region_is_refused_and_the_run_goes_on(up: Up) -> None:
    result = run_wandb(up, _LOG, "coreweave-us").check()
    assert "REFUSED" in result.stdout
    assert "invalid storageRegion: coreweave-us" in result.stdout
    assert ask(up, 'show(api.artifact_exists("regions/ds:latest"))') is False
    assert up.get("/v1/projects/local/regions/runs")["runs"][0]["state"] == "finished"


def test_the_default_region_is_taken(up: Up) -> None:
    for region in ("", "default"):
        assert "REFUSED" not in run_wandb(up, _LOG, region).check().stdout
    assert ask(up, 'show(api.artifact("regions/ds:latest").version)') == "v0"


def test_every_way_to_ask_for_one_is_refused(up: Up) -> None:
    """Clients have said it in three places."""
    create = """mutation M($region: String) { createArtifact(input: {entityName: "local",
        projectName: "regions", artifactTypeName: "t", artifactCollectionName: "c", digest: "d",
        storageRegion: $region}) { artifact { id } } }"""
    files = """mutation M($input: CreateArtifactFilesInput!) {
        createArtifactFiles(input: $input) { files { edges { node { uploadUrl } } } } }"""
    made, told, through_files = ask(
        up,
        f"""
        made = graphql({create!r})["createArtifact"]["artifact"]["id"]
        show([made, error(lambda: graphql({create!r}, region="mars")),
              error(lambda: graphql({files!r}, input={{"artifactFiles": [], "storageRegion": "mars"}}))])
        """,
    )
    assert "invalid storageRegion: mars" in told
    assert "invalid storageRegion: mars" in through_files
    answer = _committed(up, made, {"storageLayout": "V2", "storageRegion": "mars"})
    assert "invalid storageRegion: mars" in json.dumps(answer)


def _committed(up: Up, artifact: str, policy: dict[str, str]) -> Any:
    """What the server says of a version with a manifest of this policy."""
    announce = """mutation M($id: ID!) { createArtifactManifest(input: {artifactID: $id,
        name: "wandb_manifest.json", digest: "", type: FULL}) {
        artifactManifest { file { uploadUrl } } } }"""
    commit = "mutation M($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { id } } }"
    manifest = {
        "version": 1, "storagePolicy": "wandb-storage-policy-v1", "storagePolicyConfig": policy,
        "contents": {},
    }  # fmt: skip
    found = up.post("/graphql", {"query": announce, "variables": {"id": artifact}})
    url = found["data"]["createArtifactManifest"]["artifactManifest"]["file"]["uploadUrl"]
    with urlopen(Request(url, json.dumps(manifest).encode(), method="PUT"), timeout=10) as answer:
        assert answer.status == 200
    return up.post("/graphql", {"query": commit, "variables": {"id": artifact}})
