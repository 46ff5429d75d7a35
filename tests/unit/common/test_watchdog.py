"""The watchdog: what fails or falls silent ends the process, and nothing else does."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock_common.process.notify import Notifier, without_notify
from penstock_common.process.watchdog import EXIT_FAILED, Watchdog


@pytest.fixture
def ends() -> list[int]:
    return []


@pytest.fixture
def watchdog(ends: list[int]) -> Watchdog:
    return Watchdog(patience_s=10, end=ends.append)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(10)
        yield listening


async def fails() -> None:
    raise ValueError("operands could not be broadcast")


async def turns() -> None:
    await asyncio.Event().wait()


async def test_a_background_task_that_fails_ends_the_process(
    watchdog: Watchdog, ends: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    task = watchdog.spawn(fails(), "compactor")
    await asyncio.wait([task])
    assert ends == [EXIT_FAILED]
    assert watchdog.problem == "compactor failed: ValueError"
    assert "operands could not be broadcast" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_background_task_that_just_ends_is_a_failure_too(
    watchdog: Watchdog, ends: list[int]
) -> None:
    async def gives_up() -> None: ...

    await asyncio.wait([watchdog.spawn(gives_up(), "gauges")])
    assert ends == [EXIT_FAILED]


async def test_a_task_that_is_cancelled_has_not_failed(watchdog: Watchdog, ends: list[int]) -> None:
    async def swallows() -> None:
        try:
            await turns()
        except asyncio.CancelledError:
            return

    tasks = [watchdog.spawn(turns(), "leases"), watchdog.spawn(swallows(), "feed")]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not ends
    assert not watchdog.problem


async def test_the_main_work_ends_the_process_when_it_fails(
    watchdog: Watchdog, ends: list[int]
) -> None:
    with pytest.raises(ValueError, match="broadcast"):
        await watchdog.run(fails())
    assert ends == [EXIT_FAILED]


def test_a_silent_part_ends_the_process(watchdog: Watchdog, ends: list[int]) -> None:
    part = watchdog.part("loop")
    watchdog.part("patient", 100)
    for _ in range(3):
        assert watchdog.check(4)
        part.beat()
    assert watchdog.check(8)
    assert not ends
    assert not watchdog.check(4)
    assert ends == [EXIT_FAILED]
    assert watchdog.problem == "loop hung"


def test_a_part_may_ask_for_more_time_or_leave(watchdog: Watchdog, ends: list[int]) -> None:
    part = watchdog.part("loop")
    part.beat(allow_s=60)
    assert watchdog.check(50)
    part.beat()  # what was allowed was for that turn only
    assert watchdog.check(8)
    watchdog.leave(part)
    assert watchdog.check(100)
    assert not ends


def test_patience_can_be_endless(ends: list[int]) -> None:
    watchdog = Watchdog(patience_s=0, end=ends.append)
    watchdog.part("loop")
    assert watchdog.check(1e9)
    assert not watchdog.problem


@pytest.mark.heavy
@pytest.mark.smoke
async def test_a_loop_that_was_held_up_makes_nobody_late() -> None:
    """One look after a pause counts for little, however long the pause was."""
    ends: list[int] = []
    watchdog = Watchdog(patience_s=0.5, end=ends.append)
    part = watchdog.part("loop")

    async def held_up() -> None:
        import time  # noqa: PLC0415

        await asyncio.sleep(0)
        time.sleep(1)  # noqa: ASYNC251 as a suspended machine, or a loop that is blocked
        part.beat()

    await watchdog.run(held_up())
    assert not ends


async def test_the_heart_beats_for_any_listener(listener: socket.socket, tmp_path: Path) -> None:
    watchdog = Watchdog(patience_s=0.1, notifier=Notifier(str(tmp_path / "notify")))

    async def main() -> list[bytes]:
        watchdog.ready()
        return [await asyncio.to_thread(listener.recv, 100) for _ in range(3)]

    assert await watchdog.run(main()) == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


async def test_a_long_start_is_said_with_each_beat(listener: socket.socket, tmp_path: Path) -> None:
    watchdog = Watchdog(patience_s=0.1, notifier=Notifier(str(tmp_path / "notify")))

    async def main() -> None:
        with watchdog.extended():
            while await received(listener) != b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=15000000":
                pass
        while await received(listener) != b"WATCHDOG=1":
            pass

    await asyncio.wait_for(watchdog.run(main()), 20)


async def received(listener: socket.socket) -> bytes:
    return await asyncio.to_thread(listener.recv, 100)


async def test_a_hung_part_stops_the_heart(listener: socket.socket, tmp_path: Path) -> None:
    watchdog = Watchdog(patience_s=0.1, notifier=Notifier(str(tmp_path / "notify")))
    watchdog.part("loop")

    async def main() -> None:
        while not watchdog.problem:
            await asyncio.sleep(0.01)
        listener.setblocking(False)
        while True:
            try:
                listener.recv(100)
            except BlockingIOError:
                break
        await asyncio.sleep(0.1)
        with pytest.raises(BlockingIOError):
            listener.recv(100)

    await watchdog.run(main())


def test_nobody_is_told_where_nobody_listens(tmp_path: Path) -> None:
    Notifier().tell("READY=1")
    Notifier(str(tmp_path / "gone")).tell("READY=1")


def test_what_systemd_asks_for_is_heard() -> None:
    environ = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": "3000000", "HOME": "/"}
    assert Notifier.of(environ).watchdog_s == 3
    assert Notifier.of({**environ, "WATCHDOG_PID": "1"}).watchdog_s == 0
    assert Notifier.of({}).watchdog_s == 0
    assert without_notify(environ) == {"HOME": "/"}
