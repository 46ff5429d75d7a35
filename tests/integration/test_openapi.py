"""The OpenAPI document holds for the code: every operation, with what the document allows and with
what it does not, is answered as the document says, and nothing brings a server error about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from support.artifacts import store_artifact
from support.media import store_file
from support.up import Up, running_up, wait_until

from penstock_common.http.openapi import openapi_document, operations_of
from penstock_compat.wandb.operations import OPERATIONS as WANDB
from penstock_ingest import operations as ingest_operations
from penstock_storage.blobs.blob_store import open_blobs
from penstock_storage.catalog.artifacts.artifact_catalog import Artifacts
from penstock_storage.catalog.runs.run_files import RunFiles
from penstock_storage.connect import open_catalog
from penstock_storage.contracts.interface import RunRef
from penstock_sweeps import operations as sweep_operations
from penstock_web.openapi import OPERATIONS as READ

# Cases for every rule of every operation: they take more CPU time than any other file.
pytestmark = [pytest.mark.heavy, pytest.mark.smoke]

WRITE, SWEEPS = operations_of(ingest_operations), operations_of(sweep_operations)
DOCUMENT = openapi_document([*WRITE, *READ, *SWEEPS])
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT).exclude(path_regex="/events$|/v1/session$")
NAMES = {"entity": "local", "project": "fuzz", "run": "a", "writer": "http", "name": "a.bin",
         "version": "v0", "path": "a.bin"}  # fmt: skip
KEYS = ("loss", "train/acc")
CONFIG = {"method": "random", "parameters": {"lr": {"min": 0.0, "max": 1.0}}}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("openapi")) as up:
        up.post("/v1/runs", {"project": NAMES["project"], "run": "a"})
        up.post("/v1/runs", {"project": NAMES["project"], "run": "b"})
        rows = [{"step": step, **dict.fromkeys(KEYS, step / 7)} for step in range(300)]
        for run in ("a", "b"):
            body = {"project": NAMES["project"], "run": run, "rows": rows, "config": {"lr": 0.1}}
            up.post("/v1/batches", body)
        for run in ("a", "b"):
            path = f"/v1/runs/local/{NAMES['project']}/{run}"
            wait_until(lambda path=path: up.get(path)["last_step"] == 299)  # type: ignore[misc]
        asyncio.run(add_file(up))
        ledger = up.get(f"/v1/runs/local/{NAMES['project']}/a/ledger")
        NAMES["writer"] = ledger["writers"][0]["writer"]
        made = up.post("/v1/sweeps", {"project": NAMES["project"], "config": CONFIG})
        NAMES["sweep"] = made["sweep"]
        path = f"/v1/sweeps/local/{NAMES['project']}/{made['sweep']}"
        NAMES["agent"] = up.post(f"{path}/agents", {})["agent"]
        yield up


async def add_file(up: Up) -> None:
    """A file of run a, and an artifact, as uploads leave them."""
    catalog = open_catalog(f"sqlite+aiosqlite:///{up.folder}/data/catalog.db")
    try:
        row = await catalog.run(RunRef("local", NAMES["project"], "a"))
        assert row is not None
        blobs = open_blobs(str(up.folder / "data" / "blobs"))
        await store_file(RunFiles(catalog.database), blobs, row.number, NAMES["name"], b"content")
        artifacts, files = Artifacts(catalog.database), {NAMES["path"]: b"content"}
        await store_artifact(
            artifacts, blobs, row.project_number, NAMES["name"], files,
            entity="local", run=row.number,
        )  # fmt: skip
    finally:
        await catalog.close()


@schemathesis.serializer("application/msgpack")
def as_it_is(context: Any, value: Any) -> bytes:
    """Noise: what is well formed is written by the tests of the wire."""
    return str(value).encode(errors="surrogatepass")


@SCHEMA.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> Any:
    """Every second question is about something that exists, but what deletes is about nothing."""
    deletes = context.operation.method.upper() == "DELETE" or context.operation.path.endswith(
        "/delete"
    )
    if deletes or not path_parameters or len(str(path_parameters)) % 2:
        return path_parameters
    return {name: NAMES.get(name, value) for name, value in path_parameters.items()}


@SCHEMA.hook
def map_query(context: Any, query: dict[str, Any] | None) -> Any:
    if not query or len(str(query)) % 2:
        return query
    return query | {name: REAL[name] for name in ("runs", "keys") if name in query}


@SCHEMA.hook
def map_body(context: Any, body: Any) -> Any:
    if not isinstance(body, dict) or len(str(body)) % 2:
        return body
    return body | {name: real for name, real in REAL.items() if name in body}


LONGEST_LINE = 8_000
"""Above this the HTTP parser refuses in its own words."""
SEEN: dict[str, set[int]] = {}
"""The statuses of each operation's answers."""
REAL: dict[str, Any] = {
    "entity": "local",
    "project": NAMES["project"],
    "runs": ["a", "b"],
    "keys": list(KEYS),
    "config": CONFIG,
}


@SCHEMA.parametrize()
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_documented(case: schemathesis.Case[Any], up: Up) -> None:
    response = case.call(base_url=up.url, headers={"Authorization": f"Bearer {up.api_key}"})
    SEEN.setdefault(case.operation.label, set()).add(response.status_code)
    if len(str(response.request.url)) < LONGEST_LINE:
        case.validate_response(response, checks=CHECKS)


def test_what_is_allowed_is_answered_too() -> None:
    """Refusals are documented everywhere: without this, a server that refuses all would pass."""
    if len(SEEN) < sum(1 for _ in SCHEMA.get_all_operations()):
        pytest.skip("not every operation was asked")
    refused = {label for label, seen in SEEN.items() if not any(s < 300 for s in seen)}
    assert not {
        label for label in refused if not (label.startswith("DELETE") or "/delete" in label)
    }


def test_the_document_is_served(up: Up) -> None:
    assert up.get("/v1/openapi.json") == openapi_document([*WRITE, *READ, *SWEEPS, *WANDB])
