"""JSON rows by hand: what docs/api.md shows, and what an Idempotency-Key promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from support.stack import running_stack

JSON = "application/json"


async def test_rows_become_points_and_values(tmp_path: Path) -> None:
    body = {
        "project": "curl",
        "run": "first",
        "name": "by hand",
        "tags": ["t"],
        "config": {"lr": 0.1},
        "rows": [
            {"step": 0, "loss": 0.5, "n": 3, "note": "hi", "ok": True, "nested": {"a": 1.5}},
            {"step": 1, "loss": "NaN", "n": 4, "_timestamp": 1_700_000_000.5},
        ],
        "state": "finished",
    }
    async with running_stack(tmp_path) as stack:
        status, answer = await stack.post_raw(json.dumps(body).encode(), content_type=JSON)
        assert status == 202
        assert answer["queued"] == 1
        await stack.drained()
        url = f"{stack.urls[0]}/v1/runs/local/curl/first"
        async with stack.session.get(url) as reply:
            run = await reply.json()
        assert (run["name"], run["state"], run["tags"]) == ("by hand", "finished", ["t"])
        assert run["config"] == {"lr": 0.1}
        async with stack.session.get(f"{url}/history") as reply:
            rows = [json.loads(line) for line in (await reply.text()).splitlines()]
        first, second = rows
        assert (first["loss"], first["n"], first["note"], first["ok"]) == (0.5, 3, "hi", True)
        assert first["nested.a"] == 1.5
        assert isinstance(first["n"], int)
        assert (second["loss"], second["_timestamp"]) == ("NaN", 1_700_000_000.5)
        question = {"project": "curl", "runs": ["first"], "keys": ["loss"]}
        async with stack.session.post(f"{stack.urls[0]}/v1/charts", json=question) as reply:
            (series,) = (await reply.json())["series"]
        assert series["step"] == [0, 1]
        assert series["last"] == [0.5, None]
        assert series["non_finite"] == [0, 1]


async def test_an_idempotency_key_stores_once_and_refuses_another_body(tmp_path: Path) -> None:
    body = json.dumps({"project": "p", "run": "r", "rows": [{"step": 1, "a": 1}]}).encode()
    other = json.dumps({"project": "p", "run": "r", "rows": [{"step": 1, "a": 2}]}).encode()
    headers = {"Idempotency-Key": "k1"}
    async with running_stack(tmp_path) as stack:
        for _ in range(3):
            status, answer = await stack.post_raw(body, content_type=JSON, headers=headers)
            assert (status, answer["queued"]) == (202, 1)
        status, answer = await stack.post_raw(other, content_type=JSON, headers=headers)
        assert (status, answer["error"]["code"]) == (409, "idempotency_conflict")
        status, answer = await stack.post_raw(other, content_type=JSON)
        assert (status, answer["queued"]) == (202, 2)
        await stack.drained()
        found = await stack.points.query("SELECT v, seq FROM penstock.points FINAL")
        assert np.asarray(found["v"]).tolist() == [2.0]
