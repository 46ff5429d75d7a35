"""Scripts that log artifacts with the official client, and what an installation has of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen

from support.up import Up
from support.wandb_scripts import run_wandb

__all__ = [
    "PAGE", "PROJECT", "START", "ask", "blobs", "commit", "create", "get", "manifest_of", "manifest_url", "md5", "put", "said", "sayings", "upload_urls", "versions",
]  # fmt: skip

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
