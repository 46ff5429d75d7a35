"""A real installation, used in every way: no log and no store of it holds a secret, and `penstock key`
works on it, from beside it and over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from support.up import Up, end_shipper, wait_until

pytestmark = pytest.mark.heavy

GRAPHQL = """mutation M($files: [String!]!) { createRunFiles(input: {entityName: "local",
 projectName: "secret", runName: "r", files: $files}) { files { uploadUrl } } }"""
TRAIN = """
import penstock as wandb
with wandb.init(project="secret", id="r", config={"lr": 0.1}) as run:
    run.log({"loss": 0.5})
"""
# Where secrets are kept, each readable by its owner only.
KEPT = {"api_key", "secrets", "ready.json"}


@pytest.fixture(scope="module")
def detached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Up, str]]:
    """An installation of `up --detach`, and what that printed."""
    folder = tmp_path_factory.mktemp("detached")
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PENSTOCK_", "WANDB_"))},
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PENSTOCK_CONSOLE": "off",
        "PENSTOCK_FACTS": "off",
        "PENSTOCK_DIR": str(folder / "spool"),
        "PENSTOCK_DATA": str(folder / "data"),
        "PENSTOCK_SYSTEM_METRICS": "off",
        "PENSTOCK_LOG_LEVEL": "DEBUG",
    }
    ready = folder / "ready.json"
    started = penstock(environ, "up", "--detach", "--port", "0", "--ready-file", str(ready))
    assert started.returncode == 0, started.stderr
    found = json.loads(ready.read_text())
    environ |= {"PENSTOCK_BASE_URL": found["url"], "PENSTOCK_API_KEY": found["api_key"]}
    process: Any = None
    up = Up(process, folder, found["url"], found["api_key"], found["children"], environ)
    try:
        yield up, started.stdout
    finally:
        penstock(environ, "down")
        end_shipper(folder)


def penstock(environ: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "penstock.cli", *arguments],
        env=environ, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def status(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> int:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urlopen(Request(url, body, given, method=method), timeout=10) as reply:
            return int(reply.status)
    except HTTPError as error:
        error.close()
        return error.code


def signed_address(up: Up) -> str:
    """Where a file of the run may be put."""
    answer = up.post("/graphql", {"query": GRAPHQL, "variables": {"files": ["a.txt"]}})
    return str(answer["data"]["createRunFiles"]["files"][0]["uploadUrl"])


def log_in(up: Up, key: str) -> str:
    body = json.dumps({"api_key": key}).encode()
    headers = {"Content-Type": "application/json"}
    with urlopen(Request(f"{up.url}/v1/session", body, headers), timeout=10) as reply:
        return str(reply.headers["Set-Cookie"]).split(";")[0]


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below that is not for keeping secrets."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not KEPT & set(path.relative_to(folder).parts):
            yield path, path.read_bytes()


@pytest.mark.timeout(300)
def test_keys_are_listed_made_and_revoked_and_no_secret_is_left_lying_about(
    detached: tuple[Up, str],
) -> None:
    up, printed = detached
    assert up.api_key not in printed  # nobody looks at a pipe: it may be a log
    assert "api_key" in printed
    made = penstock(up.environ, "key", "create", "--name", "ci", "--expires", "90d")
    assert made.returncode == 0, made.stderr
    local = made.stdout.strip()
    remote = penstock(
        up.environ, "key", "create", "--name", "remote", "--host", up.url
    ).stdout.strip()
    done = up.run_python(TRAIN, PENSTOCK_API_KEY=local)
    assert done.returncode == 0, done.stderr
    cookie, address = log_in(up, local), signed_address(up)
    by_local = signed_address(Up(up.process, up.folder, up.url, local, {}))
    assert status(address, "PUT", b"text") == 200
    assert status(by_local, "PUT", b"text") == 200
    assert status(f"{up.url}/v1/viewer", Authorization=f"Bearer {local}x") == 401
    assert status(f"{up.url}/v1/projects?key={local}", Cookie=cookie) in (200, 400)
    # -- listed, here and over HTTP
    listed = penstock(up.environ, "key", "list")
    assert "ci" in listed.stdout
    over_http = penstock(up.environ, "key", "list", "--json", "--host", up.url)
    names = {each["name"]: each for each in json.loads(over_http.stdout)}
    assert {"first key", "ci", "remote"} <= names.keys()
    assert names["ci"]["last_used_at"] is not None
    assert names["ci"]["expires_at"] > names["ci"]["created_at"]
    # -- revoked, by a prefix beside the server, and by id over HTTP
    revoked = penstock(up.environ, "key", "revoke", local.split("_")[2][:9])
    assert revoked.returncode == 0, revoked.stderr
    gone = penstock(up.environ, "key", "revoke", remote.split("_")[2], "--host", up.url)
    assert gone.returncode == 0, gone.stderr
    refused = {
        "remote": lambda: status(f"{up.url}/v1/viewer", Authorization=f"Bearer {remote}"),
        "local": lambda: status(f"{up.url}/v1/viewer", Authorization=f"Bearer {local}"),
        "session": lambda: status(f"{up.url}/v1/viewer", Cookie=cookie, X_Forwarded_For="1.2.3.4"),
        "address": lambda: status(by_local, "PUT", b"text"),
    }
    for ask in refused.values():
        wait_until(lambda ask=ask: ask() in (401, 403), 45)  # type: ignore[misc]
    assert status(address, "PUT", b"text") == 200
    # -- and no trace of any of them
    texts = [up.api_key, local, remote]
    secrets = {text.split("_")[3][:43].encode() for text in texts}
    secrets |= {cookie.partition("=")[2].split(".")[0].encode()}
    secrets |= {each.partition("signature=")[2].encode() for each in (address, by_local)}
    secrets |= {path.read_bytes() for path in (up.folder / "data" / "secrets").iterdir()
                if path.name != "folder"}  # fmt: skip
    spools = [(path, text) for path, text in contents(up.folder / "spool") if "log" in path.name]
    assert spools
    found = [*contents(up.folder / "data"), *spools]
    assert any(path.name == "up.log" for path, _ in found)
    found += [
        (Path(done.args[4]), done.stdout.encode()) for done in (listed, over_http, revoked, gone)
    ]
    for path, content in found:
        for secret in secrets:
            assert secret not in content, path
