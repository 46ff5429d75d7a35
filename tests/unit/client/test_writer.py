"""The writer: which rows get to the spool, under which steps, in whatever circumstances."""

from __future__ import annotations

import math
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.spools import new_writer, points_in, read_batch, rows_in

from penstock.spool.spool_folder import SpoolOptions
from penstock.spool.writer import Unusual, is_key
from penstock.values.slowpath import SlowPath


def logged(tmp_path: Path, *calls: tuple[dict[Any, Any], dict[str, Any]]) -> dict[Any, float]:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for data, options in calls:
        writer.log(data, **options)
    writer.close()
    assert writer.dropped_rows == 0
    return points_in(folder)


def test_auto_step_counts_calls(tmp_path: Path) -> None:
    points = logged(tmp_path, ({"a": 1.0}, {}), ({"a": 2.0}, {}), ({"b": 3.0}, {}))
    assert points == {("a", 0): 1.0, ("a", 1): 2.0, ("b", 2): 3.0}


def test_commit_false_keeps_the_step(tmp_path: Path) -> None:
    points = logged(tmp_path, ({"a": 1.0}, {"commit": False}), ({"b": 2.0}, {}), ({"a": 3.0}, {}))
    assert points == {("a", 0): 1.0, ("b", 0): 2.0, ("a", 1): 3.0}


def test_given_step_moves_the_step_and_stays(tmp_path: Path) -> None:
    points = logged(tmp_path, ({"a": 1.0}, {"step": 7}), ({"b": 2.0}, {}), ({"a": 3.0}, {}))
    assert points == {("a", 7): 1.0, ("b", 7): 2.0, ("a", 8): 3.0}


def test_given_step_with_commit_goes_on(tmp_path: Path) -> None:
    points = logged(tmp_path, ({"a": 1.0}, {"step": 7, "commit": True}), ({"a": 2.0}, {}))
    assert points == {("a", 7): 1.0, ("a", 8): 2.0}


def test_lower_step_is_stored(tmp_path: Path) -> None:
    points = logged(
        tmp_path, ({"a": 1.0}, {"step": 7}), ({"a": 2.0}, {"step": 3}), ({"a": 4.0}, {})
    )
    assert points == {("a", 7): 4.0, ("a", 3): 2.0}


def test_numpy_steps_and_values(tmp_path: Path) -> None:
    points = logged(
        tmp_path,
        ({"a": np.float64(1.5), "b": np.float32(2.5), "c": np.int64(3)}, {"step": np.int64(4)}),
        ({"a": np.array(5.0)}, {"step": 5.0}),
    )
    assert points == {("a", 4): 1.5, ("b", 4): 2.5, ("c", 4): 3.0, ("a", 5): 5.0}


def test_nan_and_infinity_are_data(tmp_path: Path) -> None:
    points = logged(tmp_path, ({"a": math.nan, "b": math.inf, "c": -math.inf}, {}))
    assert math.isnan(points["a", 0])
    assert points["b", 0] == math.inf
    assert points["c", 0] == -math.inf


def test_unusual_rows_keep_their_usual_part(tmp_path: Path) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    row: dict[Any, Any] = {"a": 1.0, "odd": Odd(), "big": 2**70, "bad\n": 3.0, "n": {"x": 4.0}}
    writer.log(row | {5: 2.0})
    writer.log({"_step": 9, "_timestamp": 1_700_000_000.5, "a": 2.0})
    writer.log({"deep": [1, {"x": (2, 3)}], "nothing": None, "yes": True})
    slow_path = writer._slow_path
    assert isinstance(slow_path, SlowPath)
    assert slow_path.drain(10)
    writer.close()
    points = points_in(folder)
    assert points["a", 0] == 1.0
    assert points["big", 0] == float(2**70)
    assert points["5", 0] == 2.0
    assert points["bad", 0] == 3.0
    assert points["n.x", 0] == 4.0
    assert points["a", 1] == 2.0
    batch = read_batch(folder)
    values = {r["key"]: (r["kind"], r["json"]) for r in batch.records if r["t"] == "value"}
    assert values["odd"] == ("string", '"<Odd>"')
    assert values["deep"] == ("list", '[1,{"x":[2,3]}]')
    assert values["nothing"] == ("null", "null")
    assert values["yes"] == ("bool", "true")
    times = {
        step: time
        for frame in batch.frames
        for step, time in zip(
            np.frombuffer(frame.steps, "<i8").tolist(),
            np.frombuffer(frame.times, "<i8").tolist(),
            strict=True,
        )
    }
    assert times[1] == 1_700_000_000_500_000


def test_misuse_is_counted_and_never_raises(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for data in (None, 5, [1], "text", {"a": 1.0}.keys()):
        writer.log(data)  # type: ignore[arg-type]
    writer.log({"a": 1.0}, step=2**60)
    writer.log({"a": 1.0}, step="x")  # type: ignore[arg-type]
    writer.log({"a": 1.0}, step=1.5)  # type: ignore[arg-type]
    assert writer.dropped_rows == 8
    writer.close()
    writer.log({"a": 1.0})
    assert writer.dropped_rows == 9


def test_strict_raises_on_misuse(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, strict=True)
    with pytest.raises(TypeError, match="dict"):
        writer.log(5)  # type: ignore[arg-type]
    writer.close()


def test_rows_survive_many_segments(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    keys = [f"key/{i}" for i in range(500)]
    for step in range(1_000):
        writer.log({key: float(step) for key in keys})
        if step % 100 == 0:
            writer.log({"other": 1.0}, step=step)
    writer.close()
    assert len(list(folder.glob("*.seg"))) > 3
    assert not list(folder.glob("*.tmp"))
    rows = [step for step, width in rows_in(folder) if width == 500]
    assert rows == list(range(1_000))


@pytest.mark.heavy
@pytest.mark.smoke
def test_a_row_larger_than_any_segment(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    writer.log({"text": "x" * 900_000})
    writer.log({f"{'k' * 480}{i}": 1.0 for i in range(20_000)})
    writer.log({f"many{i}": 1.0 for i in range(45_000)})
    writer.close()
    assert writer.dropped_rows == 0
    assert len(points_in(folder)) == 65_000


def test_threads_lose_nothing(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder

    def work(thread: int) -> None:
        for step in range(2_000):
            writer.log({f"thread{thread}": float(step), "x": 1.0}, step=thread * 10_000 + step)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    points = points_in(folder)
    assert len(points) == 16_000
    assert all(points[f"thread{n}", n * 10_000 + s] == s for n in range(4) for s in range(2_000))


def test_a_signal_handler_may_log(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    handled = 0

    def handler(number: int, frame: object) -> None:
        nonlocal handled
        writer.log({"signal": float(handled)}, step=handled)
        handled += 1
        signal.setitimer(signal.ITIMER_REAL, 0.0005)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    logged_rows = 0
    try:
        while handled < 200:
            writer.log({"main": 1.0}, step=logged_rows)
            logged_rows += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.close()
    assert writer.dropped_rows == 0
    points = points_in(folder)
    assert sum(key == "main" for key, _ in points) == logged_rows
    assert sum(key == "signal" for key, _ in points) == handled


# The interrupt may come between opening something and the `with` that would close it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_leaves_a_readable_spool(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder

    class Stop(BaseException):
        pass

    def handler(number: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, handler)
    returned = 0
    try:
        for _ in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    writer.log({"a": 1.0}, step=returned)
                    returned += 1
            except Stop:
                continue
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.close()
    # A call that was interrupted may or may not have stored its row; its step was used again.
    steps = {step for step, _ in rows_in(folder)}
    assert steps >= set(range(returned))


def test_full_spool_drops_newest_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = new_writer(tmp_path, options=SpoolOptions(limit_bytes=600 << 10))
    folder = writer.spool().folder
    row = {f"k{i}": 1.0 for i in range(1_000)}
    for _ in range(200):
        writer.log(row)
    assert writer.dropped_rows > 0
    kept = [step for step, _ in rows_in(folder)]
    assert kept == list(range(200 - writer.dropped_rows))
    assert "dropped" in capsys.readouterr().err
    writer.close()


@pytest.mark.heavy
@pytest.mark.smoke
def test_full_spool_can_block(tmp_path: Path) -> None:
    writer = new_writer(tmp_path, options=SpoolOptions(limit_bytes=600 << 10, on_full="block"))
    folder = writer.spool().folder
    done = threading.Event()

    def work() -> None:
        for _ in range(100):
            writer.log({f"k{i}": 1.0 for i in range(1_000)})
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not done.wait(0.5)
    # Room is made as the shipper does it: the oldest segments go.
    while not done.wait(0.05):
        for path in sorted(folder.glob("*.seg"))[:-1]:
            path.unlink()
    thread.join()
    assert writer.dropped_rows == 0
    writer.close()


def test_shapes_beyond_the_limit_are_forgotten_but_right(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(5_000):
        writer.log({f"key{step}": float(step)})
    assert writer.summary() == {f"key{step}": float(step) for step in range(5_000)}
    writer.close()
    assert points_in(folder) == {(f"key{step}", step): float(step) for step in range(5_000)}


@pytest.mark.parametrize(
    ("key", "good"),
    [("a", True), ("ä/ü 1", True), ("", False), ("a\n", False), ("k" * 513, False), (5, False)],
)
def test_keys(key: object, good: bool) -> None:
    assert is_key(key) is good


def test_only_exact_types_are_packed(tmp_path: Path) -> None:
    class Tensor(float):
        def __float__(self) -> float:
            raise AssertionError("would synchronise the device")

    slow: list[object] = []
    writer = new_writer(tmp_path)
    writer._slow_path = lambda data, step, commit: slow.append(data)
    writer.log({"a": Tensor(1.0)})
    assert len(slow) == 1
    with pytest.raises(Unusual):
        writer.append_row({"a": Tensor(1.0)}, 0, 0)
    writer.close()


def test_slow_path_waits_for_values_aside(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    slow_path = writer._slow_path
    assert isinstance(slow_path, SlowPath)
    writer.log({"weights": np.arange(1_000.0), "loss": 1.0}, step=3)
    assert slow_path.drain(10)
    writer.close()
    records = [r for r in read_batch(folder).records if r["t"] == "value"]
    assert [(r["key"], r["step"], r["kind"]) for r in records] == [("weights", 3, "histogram")]
    assert points_in(folder) == {("loss", 3): 1.0}


def test_without_maps_where_the_file_system_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("penstock.spool.spool_folder.is_network", lambda folder: True)
    writer = new_writer(tmp_path)
    folder = writer.spool().folder
    for step in range(3_000):
        writer.log({f"k{i}": float(step) for i in range(50)})
    assert len(points_in(folder)) == 150_000
    writer.close()
    assert writer.dropped_rows == 0
    assert len(list(folder.glob("*.seg"))) > 1
