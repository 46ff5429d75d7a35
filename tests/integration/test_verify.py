"""`penstock verify`: what was sent is what is stored, and whatever is not is found and named."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.marks import SMOKE
from support.spools import new_writer
from support.up import Up, end_shipper, running_up, wait_until

from penstock.runs.launch import ensure_shipper, is_shipper_running
from penstock.shipper.receipts import receipts_in, store_receipt
from penstock.spool.meta import load_meta
from penstock.spool.progress import load_progress, store_progress
from penstock.spool.root import spools_in
from penstock_server.datafolder import DataFolder
from penstock_storage.clickhouse.client import ClickHouse

pytestmark = SMOKE

# 900 points of `loss` and `acc` in each run, and what is harder to keep: see `ODD`.
PLAIN = """
import sys, penstock
for name in sys.argv[1:]:
    with penstock.init(project="proof", id=name) as run:
        for i in range(900):
            run.log({"loss": 1 / (i + 1), "acc": i / 900})
"""
TO_DAMAGE = (
    "missing", "altered", "unrecorded", "rewritten", "unmarked", "phantom", "aside", "both"
)  # fmt: skip
# Repeats within a batch and of an earlier one, late steps, values that are no finite numbers,
# integers, strings, nested keys, alerts.
ODD = """
import math, sys, time, penstock
from penstock.spool.meta import load_meta
from penstock.spool.progress import load_progress
with penstock.init(project="proof", id=sys.argv[1], settings={"rank": int(sys.argv[2])}) as run:
    for i in range(400):
        run.log({"loss": i / 7, "int": i, "deep": {"a": float(i), "b, c": -0.0}}, step=i)
        if i % 50 == 49:
            run.log({"loss": math.nan, "text": f"at {i}"}, step=abs(i - 240))
            run.log({"loss": -math.inf, "list": [1, 2.5, "x"], "flag": i > 200}, step=i)
            run.log({"late": 1.0, "text": "again"}, step=i - 30)
        if i == 200:  # what comes now is in another batch
            while not load_progress(run._writer.spool().folder).cut:
                time.sleep(0.01)
    run.log({"hist": __import__("numpy").arange(50.0)}, step=500)
    run.alert("done", "all of it")
"""


# Goes on until its standard input ends.
WRITING = """
import sys, penstock
with penstock.init(project="proof", id="writing") as run:
    for i in range(100):
        run.log({"loss": 1.0})
    print("logged", flush=True)
    sys.stdin.read()
    run.log({"loss": 2.0})
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("verify")) as up:
        yield up


@pytest.fixture(scope="module")
def plain(up: Up) -> None:
    """A run for each test that changes what is stored, logged by one script."""
    log(up, PLAIN, *TO_DAMAGE)


def log(up: Up, code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=up.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "is stored" in done.stderr


def verify(up: Up, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "penstock.cli", "verify", "--timeout", "30", *arguments],
        env=up.environ, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def verified(up: Up, place: str) -> dict[str, Any]:
    status, said = verify(up, place, "--json")
    report: dict[str, Any] = json.loads(said)
    assert status == (0 if report["clean"] else 1)
    return report


def in_store(up: Up, *statements: str, **inserted: Any) -> None:
    """Change the store behind everybody's back: statements, with `{run}` and `{key}` of the names,
    and rows to insert by table."""

    async def change() -> None:
        folder = DataFolder(up.folder / "data")
        store = ClickHouse(
            f"unix://{folder.socket('store.sock')}", token=folder.secret("store_token")
        )
        try:
            for statement in statements:
                await store.execute(statement + " SETTINGS mutations_sync = 2")
            for table, columns in inserted.items():
                await store.insert(table, columns)
        finally:
            await store.close()

    asyncio.run(change())


def number(kind: str, name: str) -> str:
    """A statement's way to say the number of a run or a key."""
    return f"(SELECT max(id) FROM penstock.names WHERE kind = '{kind}' AND name = '{name}')"


def numbers(up: Up, run: str, key: str) -> tuple[int, int]:
    async def look() -> tuple[int, int]:
        folder = DataFolder(up.folder / "data")
        store = ClickHouse(
            f"unix://{folder.socket('store.sock')}", token=folder.secret("store_token")
        )
        try:
            found = await store.query(
                f"SELECT {number('run', run)} AS r, {number('key', key)} AS k"
            )
        finally:
            await store.close()
        return int(found["r"][0]), int(found["k"][0])

    return asyncio.run(look())


@pytest.mark.smoke
@pytest.mark.heavy
def test_a_run_is_stored_as_it_was_sent(up: Up) -> None:
    log(up, PLAIN, "clean")
    for place in ("local/proof/clean", "proof/clean", "clean"):
        status, said = verify(up, place)
        assert status == 0, said
        assert said.splitlines()[-1] == (
            "1,800 points sent, 1,800 stored: 0 missing, 0 duplicate, 0 altered, 0 phantom"
        )
    report = verified(up, "clean")
    (writer,) = report["writers"]
    assert writer["batches_sent"] == writer["batches_stored"] > 0
    assert not writer["problems"]
    assert not writer["notes"]


@pytest.mark.heavy
@pytest.mark.smoke
def test_repeats_late_steps_odd_values_and_several_writers(up: Up) -> None:
    log(up, ODD, "odd", "0")
    log(up, ODD, "odd", "1")
    log(up, ODD, "odd", "1")
    report = verified(up, "odd")
    assert report["clean"], report
    assert [writer["rank"] for writer in report["writers"]] == [0, 1, 1]
    # loss, int and two deep keys at 400 steps, and 8 late ones: repeats count once.
    assert report["sent"] == report["stored"] == 3 * (4 * 400 + 8)
    ledger = up.get("/v1/runs/local/proof/odd/ledger")["writers"]
    for writer in ledger:
        assert writer["points_sent"] > writer["points_stored"] == 1608
        assert writer["points_duplicate"] == 0
        # text at 16 steps, list and flag at 8, a histogram, an alert
        assert writer["values_stored"] == 16 + 8 + 8 + 1 + 1
        assert (writer["gaps"], writer["dead"]) == ([], [])
        path = f"/v1/runs/local/proof/odd/ledger/{writer['writer']}"
        first = up.get(f"{path}?part=batches&limit=1")
        assert first["batches"]["seq"] == [1]
        assert first["next"] == 1
        keys: list[str] = []
        after: int | None = 0
        while after is not None:
            page = up.get(f"{path}?part=points&limit=2&after={after}")
            keys += [own["key"] for own in page["keys"]]
            after = page["next"]
        assert sorted(keys) == ["deep.a", "deep.b, c", "int", "late", "loss"]


@pytest.mark.parametrize(
    ("run", "change", "counts", "words"),
    [
        (
            "missing",
            "ALTER TABLE penstock.points DELETE WHERE run = {run} AND key = {key} AND step IN (7, 8)",
            {"missing": 2},
            "loss: 2 missing (step 7: 0.125; step 8: 0.1111111111111111)",
        ),
        (
            "altered",
            "ALTER TABLE penstock.points UPDATE v = 5 WHERE run = {run} AND key = {key} AND step = 3",
            {"altered": 1},
            "loss: 1 altered (step 3: 0.25 was sent, 5.0 is stored)",
        ),
        (
            "unrecorded",
            "ALTER TABLE penstock.batches DELETE WHERE run = {run} AND seq = 1",
            {},
            "batch 1 not in the store",
        ),
        (
            "rewritten",
            "ALTER TABLE penstock.batches UPDATE digest = 1 WHERE run = {run} AND seq = 1",
            {},
            "batch 1 in the store with different content",
        ),
        (
            "unmarked",
            "ALTER TABLE penstock.applied DELETE WHERE run = {run}",
            {},
            "not recorded as stored",
        ),
    ],
)
def test_what_is_not_as_it_was_sent_is_found(
    up: Up, plain: None, run: str, change: str, counts: dict[str, int], words: str
) -> None:
    in_store(up, change.format(run=number("run", run), key=number("key", "loss")))
    report = verified(up, run)
    assert not report["clean"]
    found = {name: report[name] for name in ("missing", "duplicate", "altered", "phantom")}
    assert found == {"missing": 0, "duplicate": 0, "altered": 0, "phantom": 0} | counts
    assert any(words in problem for problem in report["writers"][0]["problems"]), report


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_point_that_nobody_sent_is_found(up: Up, plain: None) -> None:
    run, key = numbers(up, "phantom", "acc")
    row = {"key": key, "run": run, "lane": 0, "step": 901, "v": 9.5, "seq": 1}
    in_store(up, points={name: np.array([value]) for name, value in row.items()})
    report = verified(up, "phantom")
    assert (report["phantom"], report["missing"], report["altered"]) == (1, 0, 0)
    problem = "acc: 1 phantom (step 901: 9.5)"
    assert report["writers"][0]["problems"] == [problem]
    status, said = verify(up, "phantom")
    assert status == 1
    assert problem in said


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_string_that_is_gone_is_found(up: Up) -> None:
    log(up, ODD, "texts", "0")
    run, key = numbers(up, "texts", "text")
    in_store(
        up,
        f"ALTER TABLE penstock.values DELETE WHERE run = {run} AND key = {key} AND step = 9",
    )
    report = verified(up, "texts")
    assert not report["clean"]
    assert report["writers"][0]["problems"] == ["text: 16 values sent, 15 stored"]


@pytest.mark.heavy
@pytest.mark.smoke
def test_batches_that_were_put_aside_or_refused_are_named(up: Up, plain: None) -> None:
    run, _ = numbers(up, "aside", "loss")
    in_store(up, f"ALTER TABLE penstock.applied UPDATE dead = [1] WHERE run = {run}")
    (folder,) = spools_of(up, "aside")
    (folder / "rejected").mkdir()
    (folder / "rejected" / "00000002.batch").write_bytes(b"")
    report = verified(up, "aside")
    assert not report["clean"]
    problems = report["writers"][0]["problems"]
    assert problems[:2] == [
        f"batch 2 refused by the server, kept in {folder}/rejected",
        "batch 1 in the server's dead letters: penstock dead list",
    ]
    # What it held is in this store all the same, so nobody is known to have sent it.
    assert report["phantom"] > 0
    shutil.rmtree(folder / "rejected")  # else the spool is kept for somebody to look at


@pytest.mark.heavy
@pytest.mark.smoke
def test_writers_of_other_hosts_are_shown(up: Up, plain: None) -> None:
    row = {"step": 5, "loss": 0.5}
    up.post("/v1/batches", {"project": "proof", "run": "both", "rows": [row]})
    wait_until(lambda: len(up.get("/v1/runs/local/proof/both/ledger")["writers"]) == 2)
    report = verified(up, "both")
    assert report["clean"]
    assert report["sent"] == 1_800
    (other,) = (each for each in report["writers"] if not each["is_from_here"])
    assert other["writer"].startswith("http")
    assert other["notes"] == ["not sent from this machine"]
    up.post("/v1/batches", {"project": "proof", "run": "byhand", "rows": [row]})
    status, said = verify(up, "proof/byhand")
    assert status == 1
    assert "nothing of this run was sent from this machine" in said


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_run_that_is_still_logging(up: Up) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING],
        env=up.environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "logged\n"
        wait_until(lambda: any(load_progress(f).committed for f in spools_of(up, "writing")))
        report = verified(up, "writing")
        assert report["clean"], report
        assert report["writers"][0]["notes"] == [
            "it is still logging: only batches were compared; the data is compared once it has ended"
        ]
    finally:
        process.stdin.close()
        assert process.wait(30) == 0
        process.stdout.close()
    report = verified(up, "writing")
    assert report["clean"], report
    assert (report["sent"], report["writers"][0]["notes"]) == (101, [])


def test_what_never_arrived_is_missing(up: Up, tmp_path: Path) -> None:
    writer = new_writer(
        tmp_path, up.url, api_key=up.api_key, project="proof", run="kept", offline=True
    )
    for step in range(10):
        writer.log({"x": 1.0}, step)
    writer.close()
    status, said = verify(up, "proof/kept", "--dir", str(tmp_path))
    assert status == 1
    assert "not everything has arrived yet" in said


@pytest.mark.heavy
@pytest.mark.smoke
@pytest.mark.timeout(120)
def test_a_receipt_outlives_the_spool(up: Up) -> None:
    log(up, ODD, "freed", "0")
    log(up, PLAIN, "other")
    root = up.folder / "spool"
    forget_spools(up)
    assert not list(spools_in(root))
    receipts = {receipt.run: receipt for receipt, _ in receipts_in(root)}
    assert receipts["freed"].is_complete
    assert receipts["freed"].sums is not None
    files = list((root / "receipts").iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    report = verified(up, "freed")
    assert report["clean"], report
    assert report["sent"] == report["stored"] == 1608
    run, key = numbers(up, "freed", "int")
    in_store(
        up,
        f"ALTER TABLE penstock.points DELETE WHERE run = {run} AND key = {key} AND step = 3",
        f"ALTER TABLE penstock.batches DELETE WHERE run = {run} AND seq = 1",
    )
    report = verified(up, "freed")
    assert report["writers"][0]["problems"] == ["batch 1 not in the store", "int: 1 missing"]
    # A longer spool leaves no sums, only its digests.
    store_receipt(root, replace(receipts["other"], sums=None))
    report = verified(up, "other")
    assert report["clean"]
    assert report["writers"][0]["notes"] == ["digests compared; the data itself has been deleted"]


def spools_of(up: Up, run: str) -> list[Path]:
    return [f for f in spools_in(up.folder / "spool") if load_meta(f).run == run]


def forget_spools(up: Up) -> None:
    """Let the shipper remove every spool, as it does ten minutes after they are stored."""
    root = up.folder / "spool"
    end_shipper(up.folder)
    wait_until(lambda: not is_shipper_running(root))
    for folder in spools_in(root):
        progress = load_progress(folder)
        assert progress.done
        store_progress(folder, replace(progress, done_at=progress.done_at - 3_600))
    starter = ensure_shipper(root)
    assert starter is not None
    starter.wait(20)
    wait_until(lambda: not list(spools_in(root)))
