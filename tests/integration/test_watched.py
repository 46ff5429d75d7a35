"""Every part of `penstock up` is watched: what freezes, hangs or fails is said, and replaced."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest
from support.disks import small_disk
from support.stack import running_stack
from support.up import Up, running_up, wait_until

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(180)]
PATIENCE_S = 3
SETTINGS = {"PENSTOCK_PATIENCE_S": str(PATIENCE_S)}


@pytest.fixture
def failpoints(tmp_path: Path) -> Path:
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return folder


@pytest.fixture
def up(tmp_path: Path, failpoints: Path) -> Iterator[Up]:
    settings = {**SETTINGS, "PENSTOCK_FAILPOINTS": str(failpoints)}
    with running_up(tmp_path, "--gateways", "2", settings=settings) as up:
        yield up


def pids(up: Up, name: str) -> list[int]:
    """The processes of this name now."""
    children: dict[str, list[int]] = json.loads((up.folder / "ready.json").read_text())["children"]
    return children.get(name, [])


def ready(up: Up) -> tuple[int, dict[str, Any]]:
    """Status and body of /readyz; (0, {}) if nobody answers."""
    try:
        with urlopen(f"{up.url}/readyz", timeout=5) as reply:
            return reply.status, json.loads(reply.read())
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
    except OSError:
        return 0, {}


def is_ready(up: Up) -> bool:
    return ready(up)[0] == 200


def problems(up: Up) -> list[tuple[str, str]]:
    """(code, subject) of what is stated now."""
    return [(each["code"], each["subject"]) for each in ready(up)[1].get("problems", [])]


def log_of(up: Up, process: str) -> str:
    return (up.folder / "data" / "logs" / f"{process}.log").read_text()


def store_row(up: Up, run: str, step: int) -> None:
    """A row goes all the way, also if a gateway is replaced meanwhile."""

    def is_taken() -> bool:
        try:
            rows = [{"step": step, "loss": 0.5}]
            up.post("/v1/batches", {"project": "watched", "run": run, "rows": rows})
        except (HTTPError, OSError):
            return False
        return True

    def is_stored() -> bool:
        try:
            return bool(up.get(f"/v1/runs/local/watched/{run}")["last_step"] == step)
        except (HTTPError, OSError):
            return False

    wait_until(is_taken)
    wait_until(is_stored)


@pytest.mark.smoke
def test_a_frozen_part_is_said_and_replaced(up: Up) -> None:
    store_row(up, "a", 0)
    for step, (name, part) in enumerate(
        {"worker": "worker-0", "store": "store", "gateway": "gateway-1", "redis": "redis"}.items(),
        1,
    ):
        frozen = pids(up, name)[-1]
        os.kill(frozen, signal.SIGSTOP)
        wait_until(lambda part=part: ("part_silent", part) in problems(up))  # type: ignore[misc]
        wait_until(lambda name=name, frozen=frozen: frozen not in pids(up, name))  # type: ignore[misc]
        wait_until(lambda: is_ready(up), 40)
        store_row(up, "a", step)
    # Each gateway looks for itself, and not at every request.
    wait_until(lambda: not problems(up))
    wait_until(lambda: up.get("/v1/status") == {"problems": []})
    parts = {part["name"]: part for part in ready(up)[1]["parts"]}
    assert {part["state"] for part in parts.values()} == {"running"}
    assert parts["gateway-0"]["restarts"] == 0
    assert parts["gateway-1"]["restarts"] == 1


def test_a_short_pause_is_no_fault(up: Up) -> None:
    before = {name: pids(up, name) for name in ("worker", "store", "gateway", "redis")}
    everyone = [pid for each in before.values() for pid in each]
    for pid in everyone:
        os.kill(pid, signal.SIGSTOP)
        os.kill(pid, signal.SIGCONT)
    # As a machine that was suspended: the watcher slept as well.
    for pid in [up.process.pid, *everyone]:
        os.kill(pid, signal.SIGSTOP)
    try:
        signal.sigtimedwait([signal.SIGUSR2], 2 * PATIENCE_S)
    finally:
        for pid in [up.process.pid, *everyone]:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: is_ready(up))
    store_row(up, "b", 1)
    assert {name: pids(up, name) for name in before} == before


@pytest.mark.parametrize(
    ("point", "fault", "name", "process", "word"),
    [
        ("worker.gauges", "bug", "worker", "worker-0", "task_failed task=gauges"),
        ("gateway.status", "bug", "gateway", "gateway-", "part_failed name=queue status"),
        ("worker.after_read", "sleep 60", "worker", "worker-0", "worker.py"),
    ],
)
def test_what_fails_or_hangs_within_a_process_ends_it(
    up: Up, failpoints: Path, point: str, fault: str, name: str, process: str, word: str
) -> None:
    store_row(up, "c", 0)
    before = pids(up, name)
    (failpoints / point).write_text(fault)
    if point == "worker.after_read":
        up.post("/v1/batches", {"project": "watched", "run": "c", "rows": [{"step": 1, "x": 1}]})
    wait_until(lambda: len(set(before) & set(pids(up, name))) == len(before) - 1, 40)
    wait_until(lambda: is_ready(up), 40)
    store_row(up, "c", 2)
    found = "".join(log_of(up, f"{process}{n}" if process[-1] == "-" else process) for n in (0, 1))
    assert word in found
    if fault == "bug":
        assert "Traceback" in found


def test_an_outage_of_redis_kills_nobody(tmp_path: Path) -> None:
    """A process that waits for a dead Redis, however long, is not at fault."""
    settings = {"PENSTOCK_PATIENCE_S": "1"}
    with running_up(tmp_path, settings=settings) as up:
        store_row(up, "d", 0)
        worker = pids(up, "worker")[0]
        # From now on it ends each time that it is started.
        conf = up.folder / "data" / "run" / "redis.conf"
        text = conf.read_text()
        conf.write_text("no such setting\n")
        os.kill(pids(up, "redis")[0], signal.SIGKILL)
        wait_until(lambda: ("queue_unreachable", "") in problems(up))
        os.kill(worker, signal.SIGKILL)  # so does one that starts meanwhile
        signal.sigtimedwait([signal.SIGUSR2], 15)
        assert ("queue_unreachable", "") in problems(up)
        conf.write_text(text)
        wait_until(lambda: is_ready(up), 40)
        store_row(up, "d", 1)
        restarts = {part["name"]: part["restarts"] for part in ready(up)[1]["parts"]}
        assert restarts.pop("redis") > 1
        assert restarts == {"worker-0": 1, "gateway-0": 0, "store": 0}


def test_a_full_disk_is_said_and_forgotten(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data", "160m") as disk,
        running_up(tmp_path, settings=SETTINGS) as up,
    ):
        store_row(up, "e", 0)
        disk.fill()
        wait_until(lambda: "disk_full" in {code for code, _ in problems(up)})
        assert not is_ready(up)

        def shown() -> list[dict[str, Any]]:
            """What the page is given, which may be a moment old."""
            found = up.get("/v1/status")["problems"]
            return [each for each in found if each["code"] == "disk_full"]

        wait_until(shown)
        (told,) = shown()
        assert "is full" in told["text"]
        assert "Free some space" in told["hint"]
        disk.make_room()
        wait_until(lambda: is_ready(up), 60)
        assert not problems(up)
        store_row(up, "e", 1)


@contextmanager
def listening(path: Path) -> Iterator[list[str]]:
    """What is said to this socket, as systemd would hear it."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))

        def hear() -> None:
            while "END" not in heard:
                heard.extend(listener.recv(1_000).decode().splitlines())

        hearing = threading.Thread(target=hear)
        hearing.start()
        try:
            yield heard
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.sendto(b"END", str(path))
            hearing.join(10)


def test_up_speaks_to_systemd(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    settings = {"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"}
    with listening(address) as heard:
        with running_up(tmp_path, settings=settings) as up:
            wait_until(lambda: "READY=1" in heard)
            beats = heard.count("WATCHDOG=1")
            wait_until(lambda: heard.count("WATCHDOG=1") > beats)
            assert "STOPPING=1" not in heard
            # Its children report to it, not to its own parent.
            for name in ("worker", "gateway", "store"):
                environ = psutil.Process(pids(up, name)[0]).environ()
                assert "WATCHDOG_USEC" not in environ
                assert Path(environ["NOTIFY_SOCKET"]).name.endswith(".notify")
        assert "STOPPING=1" in heard


def test_a_frozen_supervisor_is_said(tmp_path: Path) -> None:
    """Nobody but systemd can replace it; the gateway can say so."""
    with running_up(tmp_path, settings=SETTINGS) as up:
        os.kill(up.process.pid, signal.SIGSTOP)
        try:
            wait_until(lambda: ("part_silent", "up") in problems(up))
        finally:
            os.kill(up.process.pid, signal.SIGCONT)
        wait_until(lambda: is_ready(up))


async def test_in_a_cluster_gateways_stay_ready_without_redis(tmp_path: Path) -> None:
    """It is gone for all of them. Clients hear from them what is wrong, and not from the network."""
    async with running_stack(tmp_path, workers=0) as stack:
        await stack.redis.stop()
        async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
            answer = await reply.json()
        assert (reply.status, answer["queue"]) == (200, False)
        assert "queue_unreachable" in [each["code"] for each in answer["problems"]]
        row = {"project": "p", "run": "r", "rows": [{"step": 1, "x": 1.0}]}
        async with stack.session.post(f"{stack.urls[0]}/v1/batches", json=row) as reply:
            assert reply.status == 503
            assert int(reply.headers["Retry-After"]) >= 1


async def test_in_a_cluster_gateways_stay_ready_without_workers(tmp_path: Path) -> None:
    """Their queue still takes batches; that nobody stores them is said all the same."""
    async with running_stack(tmp_path, workers=0) as stack:
        async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
            answer = await reply.json()
        assert reply.status == 200
        assert [each["code"] for each in answer["problems"]] == ["no_workers"]
        assert answer["parts"] == []
        worker = await stack.start_worker()
        async with asyncio.timeout(30):
            while answer["problems"]:
                async with stack.session.get(f"{stack.urls[0]}/readyz") as reply:
                    answer = await reply.json()
        await worker.stop()
