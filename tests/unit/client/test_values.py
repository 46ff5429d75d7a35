"""Values: whatever is logged becomes something that can be kept, and costs its neighbours nothing."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import importlib
import pathlib
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support.logged_values import LoggedValues, check_histogram
from support.spools import points_in

from penstock.values import aside

pd: Any = importlib.import_module("pandas")  # which has no types


@pytest.fixture
def logged(tmp_path: Path) -> LoggedValues:
    return LoggedValues(tmp_path)


class Level(enum.IntEnum):
    HIGH = 3


class Mode(enum.IntFlag):
    READ = 4


class Name(str, enum.Enum):  # noqa: UP042  (as scripts write it)
    FAST = "fast"


class Other(enum.Enum):
    PAIR = (1, 2)


class Whole(int):
    pass


Point = collections.namedtuple("Point", "x y")


VALUES: list[tuple[Any, Any]] = [
    (Level.HIGH, 3),
    (Mode.READ, 4),
    (Whole(7), 7),
    (Name.FAST, "fast"),
    (Other.PAIR, [1, 2]),
    (Point(1, 2), [1, 2]),
    (decimal.Decimal("1.5"), 1.5),
    (fractions.Fraction(1, 4), 0.25),
    (pathlib.PurePosixPath("/a"), "/a"),
    (datetime.date(2024, 1, 2), "2024-01-02"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (b"abc", "abc"),
    (range(3), [0, 1, 2]),
    (collections.deque([1]), [1]),
    ({5}, [5]),
    (np.float32(0.5), 0.5),
    (np.longdouble(0.5), 0.5),
    (ml_dtypes.bfloat16(0.5), 0.5),
    (np.array(2.0), 2.0),
    (np.array([[2]]), 2),
    (np.bool_(True), True),
    (Path.cwd, "pathlib.Path.cwd"),
    (Level, f"{__name__}.Level"),
    (threading, "threading"),
    (2**70, float(2**70)),
    (10**400, str(10**400)),
    (10**5_000, "<int of 16,610 bits>"),
    ("a\udcff", "a?"),
    (pd.Timestamp("2024-01-02"), "2024-01-02T00:00:00"),
]


@pytest.mark.parametrize("index", range(len(VALUES)))
def test_values_by_type(logged: LoggedValues, index: int) -> None:
    value, kept = VALUES[index]
    logged.writer.log({"value": value, "loss": 0.5})
    assert logged.values() == {"value": kept, "loss": 0.5}
    assert logged.writer.dropped_rows == 0


ARRAYS: dict[str, tuple[Callable[[], Any], int]] = {
    "floats": (lambda: np.arange(9.0), 9),
    "large": (lambda: np.zeros(1 << 21, np.float32), 1 << 21),
    "with NaN": (lambda: np.array([1.0, np.nan, np.inf, 2.0]), 2),
    "all NaN": (lambda: np.full(5, np.nan), 0),
    "empty": (lambda: np.zeros(0), 0),
    "bool": (lambda: np.array([True, False]), 2),
    "uint64": (lambda: np.array([0, 2**64 - 1], np.uint64), 2),
    "float16": (lambda: np.arange(9, dtype=np.float16), 9),
    "bfloat16": (lambda: np.arange(9).astype(ml_dtypes.bfloat16), 9),
    "float8": (lambda: np.arange(9).astype(ml_dtypes.float8_e5m2), 9),
    "complex": (lambda: np.array([1 + 1j, 2]), 2),
    "objects": (lambda: np.array([1, None, "x", 2.5], object), 2),
    "dates": (lambda: np.array(["2024-01-01", "NaT"], "M8[D]"), 1),
    "extremes": (lambda: np.array([-1.7e308, 1.7e308]), 2),
    "neighbours": (lambda: np.array([1.0, np.nextafter(1, 2)]), 2),
    "huge equal": (lambda: np.full(3, 1e300), 3),
    "masked": (lambda: np.ma.masked_invalid([1.0, np.nan, 3.0]), 2),
    "strided": (lambda: np.arange(3_000.0).reshape(30, 100)[::3, ::7], 150),
    "broadcast": (lambda: np.broadcast_to(1.0, (100_000, 100_000)), -1),
    "series": (lambda: pd.Series([1.0, 2.0]), 2),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_becomes_a_histogram(logged: LoggedValues, name: str) -> None:
    make, elements = ARRAYS[name]
    logged.writer.log({"array": make(), "loss": 0.5})
    found = logged.values()
    assert found["loss"] == 0.5
    check_histogram(found["array"], elements)


def test_a_histogram_is_that_of_numpy(logged: LoggedValues) -> None:
    array = np.random.default_rng(5).normal(size=10_000)
    logged.writer.log({"array": array})
    counts, edges = np.histogram(array, 64)
    found = logged.values()["array"]
    assert found["values"] == counts.tolist()
    assert np.allclose(found["bins"], edges)


def test_an_array_is_logged_as_it_was(logged: LoggedValues) -> None:
    array = np.ones(100)
    logged.writer.log({"array": array})
    array[:] = 7.0
    assert max(logged.values()["array"]["bins"]) < 2


def test_what_is_left_out_of_an_array_is_counted_by_key(logged: LoggedValues) -> None:
    for _ in range(3):
        logged.writer.log({"grad": np.array([1.0, np.nan, 2.0]), "fine": np.arange(4.0)})
    said = "without 1 of its 3 elements: NaN or infinite (3 times)"
    assert logged.notices() == {"grad": said}


def test_nested_values_are_logged_beside_arrays(logged: LoggedValues) -> None:
    logged.writer.log({"train": {"loss": 0.5, "w": np.arange(9.0), "kind": Other.PAIR}})
    logged.writer.log({"frame": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})})
    found = logged.values()
    assert found["train.loss"] == 0.5
    assert sum(found["train.w"]["values"]) == 9
    assert found["train.kind"] == [1, 2]
    assert sum(found["frame.a"]["values"]) == 2
    assert found["frame.b"] == ["x", "y"]


class Raises:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")


class Sleeps:
    def __str__(self) -> str:
        time.sleep(3_600)
        return ""


class Loops:
    def __float__(self) -> float:
        while True:
            pass


class HangingMapping(dict[str, Any]):
    def __iter__(self) -> Any:
        time.sleep(3_600)

    keys = items = values = __iter__


class OddKey:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_objects_that_raise_cost_only_themselves(
    logged: LoggedValues, capsys: pytest.CaptureFixture[str]
) -> None:
    row: dict[Any, Any] = {"a": 1.0, "bad": Raises(), "list": [1, Raises()], OddKey(): 2.0}
    logged.writer.log(row)
    logged.writer.log(row)
    found = logged.values()
    assert (found["a"], found["bad"], found["list"]) == (1.0, "<Raises>", [1, "<Raises>"])
    assert logged.notices()["bad"] == "left out: RuntimeError: no (2 times)"
    said = [line for line in capsys.readouterr().err.splitlines() if " bad: " in line]
    assert len(said) == 1
    assert __file__ in said[0]


@pytest.fixture
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "PATIENCE_S", 0.3)
    monkeypatch.setattr(aside, "_AGAIN_S", (0.3, 0.1, 0.0))
    monkeypatch.setattr(aside, "_GRACE_S", 0.05)


@pytest.mark.usefixtures("little_patience")
def test_what_hangs_is_given_up_and_the_rest_goes_on(logged: LoggedValues) -> None:
    before = set(threading.enumerate())
    for step in range(30):
        logged.writer.log({"a": float(step), "bad": Sleeps(), "w": np.arange(5.0)}, step=step)
    logged.writer.log({"mapping": HangingMapping(x=1.0), "b": 2.0})
    found = logged.values()
    assert (found["a"], found["b"], found["mapping.x"]) == (29.0, 2.0, 1.0)
    assert sum(found["w"]["values"]) == 5
    assert found["bad"] == "<Sleeps>"
    assert len(points_in(logged.writer.spool().folder)) == 32
    stuck = [each for each in threading.enumerate() if each not in before]
    assert len(stuck) <= 4  # the second and later values of a type are not tried for long


@pytest.mark.usefixtures("little_patience")
def test_a_thread_that_loops_is_stopped(logged: LoggedValues) -> None:
    before = {each.ident for each in threading.enumerate()}
    logged.writer.log({"bad": Loops(), "a": 1.0})
    assert logged.values() == {"bad": "<Loops>", "a": 1.0}
    deadline = time.monotonic() + 20
    while sum(each.name == "penstock-values" and each.ident not in before
              for each in threading.enumerate()) > 1:  # fmt: skip
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_containers_that_hold_themselves_or_explode(logged: LoggedValues) -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    shared: Any = {Level.HIGH: 1}
    for _ in range(40):
        shared = [shared, shared]
    deep: Any = {"end": Level.HIGH}
    for _ in range(1_000):
        deep = [deep]
    logged.writer.log({"loop": loop, "shared": shared, "deep": deep, "a": Level.HIGH})
    found = logged.values()
    assert (found["loop"], found["a"]) == ([1, "…"], 3)
    assert "shared" not in found
    assert "more than" in logged.notices()["shared"]
    assert "too deep" in logged.notices()["deep"]


def test_a_list_that_stands_for_billions_is_left_out(logged: LoggedValues) -> None:
    shared: Any = [1.0]
    for _ in range(64):
        shared = [shared, shared]
    logged.writer.log(
        {"shared": shared, "in": {"dict": shared}, "boxes": [[1, 2], [3, 4]], "a": 1.0}
    )
    assert logged.values() == {"boxes": [[1, 2], [3, 4]], "a": 1.0, "in": {}}
    assert logged.notices().keys() == {"shared", "in.dict"}


def test_what_is_too_large_is_cut_or_left_out_alone(logged: LoggedValues) -> None:
    logged.writer.log({"text": "x" * 9_000_000, "list": [0.5] * 1_000_000, "a": 1.0})
    found = logged.values()
    assert (found["text"], found["a"]) == ("x" * 7_000_000, 1.0)
    assert "list" not in found
    assert logged.notices()["text"] == "cut to 7,000,000 of 9,000,000 characters"
    assert logged.notices()["list"].startswith("left out")


def test_keys_that_collide_keep_the_plain_one(logged: LoggedValues) -> None:
    row: dict[Any, Any] = {5: 1.0, "5": 2.0, "a": {"b": 1.0}, "a.b": 3.0, "k" * 600: 4.0}
    logged.writer.log(row)
    logged.writer.log({"k" * 600 + "x": 5.0})
    found = logged.values()
    assert (found["5"], found["a.b"]) == (2.0, 3.0)
    assert sorted(value for key, value in found.items() if key.startswith("k")) == [4.0, 5.0]


def test_a_generator_is_not_used_up(logged: LoggedValues) -> None:
    numbers = (number for number in range(3))
    logged.writer.log({"numbers": numbers})
    assert logged.values() == {"numbers": "<generator>"}
    assert list(numbers) == [0, 1, 2]
