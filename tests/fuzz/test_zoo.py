"""Every kind of object in every public call of the client: nothing raises, nothing hangs, the plain
neighbours always arrive, and what is sent is what a door takes."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import http
import importlib
import io
import itertools
import pathlib
import re
import threading
import time
import types
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pydantic
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.fuzzing import cases, sized, source
from support.ledger import Ledger, serve_ledger
from support.spools import Senders, drive, read_batch

import penstock
from penstock import aside, session
from penstock.root import spools_in
from penstock.runs import Run
from penstock.wire import Room, decode_batch, encode_batch, fit_all

pd: Any = importlib.import_module("pandas")

# Torch and numpy warn of formats that they call young, and of casts.
pytestmark = pytest.mark.filterwarnings("ignore")


class Raising:
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __str__ = __iter__ = __len__ = __float__ = __bool__ = __hash__ = __repr__  # type: ignore[assignment]


class Sleeping:
    def __repr__(self) -> str:
        time.sleep(3_600)
        return ""

    __float__ = __iter__ = __len__ = __bool__ = __repr__


class Looping:
    @property
    def item(self) -> Any:
        while True:
            pass


class Pretending:
    """Says of everything that it has it."""

    def __getattr__(self, name: str) -> Any:
        return Pretending()

    def __call__(self, *_: Any) -> Any:
        return Pretending()


class Liar:
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("whose class?")


class OddDict(dict[Any, Any]):
    def items(self) -> Any:
        raise RuntimeError

    keys = values = __iter__ = __len__ = __getitem__ = items  # type: ignore[assignment]


class OddList(list[Any]):
    def __iter__(self) -> Any:
        time.sleep(3_600)

    __len__ = __getitem__ = __iter__  # type: ignore[assignment]


class OddText(str):
    def __str__(self) -> str:
        raise RuntimeError

    __len__ = encode = isascii = __getitem__ = __hash__ = __eq__ = __str__  # type: ignore[assignment]


class OddInt(int):
    def __int__(self) -> int:
        raise RuntimeError

    __index__ = __float__ = __str__ = __repr__ = __bool__ = __lt__ = __le__ = __int__  # type: ignore[assignment]


class Endless:
    """A mapping without an end."""

    def __iter__(self) -> Iterator[str]:
        return map(str, itertools.count())

    def __getitem__(self, key: str) -> int:
        return 1

    def __len__(self) -> int:
        return -1


collections.abc.Mapping.register(Endless)


class Level(enum.IntEnum):
    HIGH = 3


Pair = collections.namedtuple("Pair", "x y")


class Fast(str, enum.Enum):  # noqa: UP042  (as scripts write it)
    YES = "yes"


class Flags(enum.Flag):
    A = 1


@dataclasses.dataclass
class Config:
    lr: float = 0.1
    odd: Any = dataclasses.field(default_factory=Raising)
    level: Level = Level.HIGH


class Model(pydantic.BaseModel):
    lr: float = 0.1
    secret: pydantic.SecretStr = pydantic.SecretStr("hush")
    inner: dict[str, Any] = {"x": 1}


def recursive() -> Any:
    loop: dict[str, Any] = {"list": []}
    loop["list"].append(loop)
    return loop


def shared() -> Any:
    found: Any = [Level.HIGH]
    for _ in range(64):
        found = [found, found]
    return found


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"d": [found]}
    return found


def object_array(*items: Any) -> Any:
    found = np.empty(len(items), object)
    for place, item in enumerate(items):
        found[place] = item
    return found


def omega() -> Any:
    config = pytest.importorskip("omegaconf").OmegaConf
    return config.create({"a": [1, {"b": 2}], "missing": "???", "bad": "${nothing}"})


ZOO: dict[str, Callable[[], Any]] = {
    "none": lambda: None, "bool": lambda: True, "int": lambda: 5, "float": lambda: 0.5,
    "nan": lambda: float("nan"), "text": lambda: "é", "surrogate": lambda: "a\udcff",
    "nul": lambda: "a\x00b", "long text": lambda: "x" * 3_000_000, "huge int": lambda: 10**400,
    "vast int": lambda: 10**6_000, "2**64": lambda: 2**64, "-2**63": lambda: -(2**63),
    "bytes": lambda: b"\xff\x00", "bytearray": lambda: bytearray(b"a"), "view": lambda: memoryview(b"abc"),
    "complex": lambda: 1j, "ellipsis": lambda: ..., "range": lambda: range(10**12),
    "set": lambda: {1, "a"}, "generator": lambda: (n for n in itertools.count()), "map": lambda: map(str, [1]),
    "file": lambda: io.StringIO("a"), "function": lambda: recursive, "lambda": lambda: lambda: 1,
    "class": lambda: Config, "module": lambda: time, "method": lambda: "a".join, "type": lambda: type,
    "lock": threading.Lock, "weak": lambda: weakref.WeakSet(), "pattern": lambda: re.compile("a"),
    "raising": Raising, "sleeping": Sleeping, "looping": Looping, "pretending": Pretending, "liar": Liar,
    "odd dict": lambda: OddDict(a=1), "odd list": lambda: OddList([1]), "odd text": lambda: OddText("t"),
    "odd int": lambda: OddInt(7), "endless": Endless, "list of odd": lambda: [1, Raising(), [Sleeping()]],
    "dict of odd": lambda: {"a": 1, 5: Raising(), Level.HIGH: 2, (1, 2): 3, None: 4, Flags.A: 5},
    "colliding": lambda: {1: "a", "1": "b", 1.5: "c", "1.5": "d"},
    "recursive": recursive, "shared": shared, "deep": lambda: nested(20), "deeper": lambda: nested(2_000),
    "wide": lambda: {f"k{n}": n for n in range(3_000)}, "long list": lambda: [0] * 600_000,
    "intenum": lambda: Level.HIGH, "status": lambda: http.HTTPStatus.OK, "strenum": lambda: Fast.YES,
    "flag": lambda: Flags.A, "named": lambda: Pair(1, Raising()),
    "ordered": lambda: collections.OrderedDict(a=1), "counter": lambda: collections.Counter("aab"),
    "default": lambda: collections.defaultdict(list, a=[1]), "deque": lambda: collections.deque([1, 2]),
    "userdict": lambda: collections.UserDict(a=1), "chain": lambda: collections.ChainMap({"a": 1}),
    "proxy": lambda: types.MappingProxyType({"a": 1}), "namespace": lambda: types.SimpleNamespace(a=Raising()),
    "dataclass": Config, "pydantic": Model, "omegaconf": omega, "path": lambda: pathlib.Path("/a"),
    "decimal": lambda: decimal.Decimal("1.5"), "snan": lambda: decimal.Decimal("sNaN"),
    "fraction": lambda: fractions.Fraction(10**400, 3), "date": lambda: datetime.date(2024, 1, 1),
    "delta": lambda: datetime.timedelta(1), "uuid": lambda: uuid.UUID(int=1), "array": lambda: array.array("d", [1]),
    "float32": lambda: np.float32(1), "longdouble": lambda: np.longdouble("1e4000"), "void": lambda: np.void(b"a"),
    "np.str": lambda: np.str_("a"), "datetime64": lambda: np.datetime64("2024-01-01"), "NaT": lambda: np.datetime64("NaT"),
    "empty": lambda: np.zeros(0), "zero-d": lambda: np.array(1.0), "big": lambda: np.zeros(1 << 21),
    "all nan": lambda: np.full(9, np.nan), "uint64": lambda: np.array([2**64 - 1, 0], np.uint64),
    "bfloat16": lambda: np.arange(9).astype(ml_dtypes.bfloat16), "complex array": lambda: np.ones(3) * 1j,
    "objects": lambda: object_array(1, None, Raising()), "texts": lambda: np.array(["a", "b"]),
    "structured": lambda: np.zeros(3, [("x", "f4"), ("y", "U3")]), "masked": lambda: np.ma.masked_invalid([np.nan]),
    "matrix": lambda: np.eye(3).view(np.matrix), "broadcast": lambda: np.broadcast_to(1.0, (10**6, 10**6)),
    "tensor": lambda: torch.randn(10), "scalar": lambda: torch.tensor(1.0, requires_grad=True),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)), "meta": lambda: torch.zeros(3, device="meta"),
    "lazy": lambda: torch.nn.LazyLinear(3).weight, "coo": lambda: torch.eye(3).to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(), "half": lambda: torch.ones(3).half(),
    "float8": lambda: torch.ones(3).to(torch.float8_e5m2), "complex tensor": lambda: torch.ones(1) * 1j,
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
    "nested tensor": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "dtype": lambda: torch.float32, "size": lambda: torch.Size([2]), "layer": lambda: torch.nn.Linear(2, 2),
    "series": lambda: pd.Series([1.0, None]), "frame": lambda: pd.DataFrame({"a": [1], 5: ["x"]}),
    "NA": lambda: pd.NA, "categories": lambda: pd.Series(["a"], dtype="category"), "index": lambda: pd.Index([1]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_hooks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The process is pytest's: it gets no hooks at exit. Little patience, so that this is quick."""
    monkeypatch.setattr(session, "_hooked", True)
    monkeypatch.setattr(aside, "PATIENCE_S", 0.5)
    monkeypatch.setattr(aside, "_AGAIN_S", (0.5, 0.1, 0.0))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("PENSTOCK_DIR", str(tmp_path / "root"))
    monkeypatch.setenv("PENSTOCK_API_KEY", "good")
    monkeypatch.setenv("PENSTOCK_SILENT", "1")


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    with serve_ledger() as served:
        monkeypatch.setenv("PENSTOCK_BASE_URL", served.url)
        yield served


def use(value: Any) -> Run:
    """Every public call with this value, and plain values beside it."""
    run = penstock.init(
        project="zoo", mode="offline", reinit="create_new", name=value, notes=value, group=value,
        job_type=value, tags=[value, "plain"], config={"odd": value, "plain": 1, "in": {"x": value}},
    )  # fmt: skip
    run.config["odd item"] = value
    run.config.attribute = value
    run.config.update(value)
    run.config.update({"more": value, "plain more": 2})
    run.config.setdefaults({"default": value, "plain default": 3})
    run.log({"odd": value, "plain": 0.5, "nest": {"plain": 1.5, "odd": value}}, step=1)
    run.log({"plain": 2.5}, step=2, commit=value is not None)
    run.log(value)
    run.log({"late": 3.5}, step=value)
    run.log({"plain": 4.5}, step=7)
    run.summary["odd"] = value
    run.summary["nest"] = {"odd": value, "plain": 1}
    run.summary["nest"]["plain"] = 2
    run.summary.update({"odd too": value, "plain": 5})
    run.summary.update(value)
    run.define_metric(value, step_metric=value, summary=value, goal=value)
    run.define_metric("plain", summary="max", hidden=value)
    run.alert(value, text=value, level=value)
    run.alert("plain")
    run.tags = [value]
    run.notes = value
    run.name = value
    run.name = "plain"
    return run


def check(ledger: Ledger) -> None:
    """The plain neighbours are there with their values."""
    merged: dict[str, dict[str, Any]] = {"config": {}, "summary": {}, "run": {}}
    for kind, found in merged.items():
        for record in ledger.records(kind):
            found.update(record.get("update", record))
    config, summary = merged["config"], merged["summary"]
    assert [config["plain"], config["plain more"], config["plain default"]] == [1, 2, 3]
    assert (summary["nest"]["plain"], merged["run"]["name"]) == (2, "plain")
    points = ledger.points()
    plain = {step: value for (key, step), value in points.items() if key == "plain"}
    assert {step: plain[step] for step in (1, 2, 7)} == {1: 0.5, 2: 2.5, 7: 4.5}
    assert points["nest.plain", 1] == 1.5
    assert "plain" in [alert.get("title") for alert in ledger.records("alert")]
    assert ledger.records("state")[-1]["state"] == "finished"
    assert "hush" not in repr(merged)


def delivered(ledger: Ledger, root: Path) -> None:
    """Send what lies there, and see that all of it is taken."""
    senders = Senders(ledger)
    try:
        (folder,) = spools_in(root)
        sender = senders(folder)
        drive(sender, lambda: sender.progress.done, 60)
        assert sender.progress.rejected == 0
    finally:
        senders.close()


# A part of it each time, all of it at full size: what the others are for, the next test has too.
@pytest.mark.parametrize(
    "name", source("zoo").sample(sorted(ZOO), min(len(ZOO), len(ZOO) * cases(200) // 200))
)
def test_one_value_everywhere(name: str, ledger: Ledger, tmp_path: Path) -> None:
    use(ZOO[name]()).finish()
    delivered(ledger, tmp_path / "root")
    check(ledger)


@pytest.mark.timeout(120)
def test_the_whole_zoo_in_one_run(ledger: Ledger, tmp_path: Path) -> None:
    zoo = {name: make() for name, make in ZOO.items()}
    run = penstock.init(project="zoo", mode="offline", config={**zoo, "plain": 1})
    for name, value in zoo.items():
        run.config[f"set {name}"] = value
        run.summary[name] = {"odd": value, "plain": name}
        run.log({f"row {name}": value, "plain": 0.5})
    run.log({**{f"all {name}": value for name, value in zoo.items()}, "plain": 1.5})
    run.finish()
    delivered(ledger, tmp_path / "root")
    config = {k: v for record in ledger.records("config") for k, v in record["update"].items()}
    summary = {k: v for record in ledger.records("summary") for k, v in record["update"].items()}
    points = ledger.points()
    assert config["plain"] == 1
    assert {name: entry["plain"] for name, entry in summary.items()} == {name: name for name in ZOO}
    plain = [value for (key, _), value in sorted(points.items()) if key == "plain"]
    assert plain == [0.5] * len(ZOO) + [1.5]
    left_out = {"long list", "deeper", "endless", "shared"}
    assert ZOO.keys() - config.keys() <= left_out
    keys = {key for key, _ in points} | {record["key"] for record in ledger.records("value")}
    rows = {key.removeprefix("all ").partition(".")[0] for key in keys if key.startswith("all ")}
    assert {name.partition(".")[0] for name in ZOO} - rows <= left_out
    assert "hush" not in repr(config)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5),
    st.decimals(allow_nan=False), st.fractions(), st.datetimes(), st.uuids(), st.complex_numbers(), st.timedeltas(),
    st.characters(categories=["Cs"]),
)  # fmt: skip
QUICK = sorted(ZOO.keys() - {"sleeping", "looping", "list of odd", "shared", "odd list", "long list", "broadcast", "big"})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Of:
    """One of the zoo, made only in the test: hypothesis looks at what it draws."""

    name: str


def made(drawn: Any) -> Any:
    if isinstance(drawn, Of):
        return ZOO[drawn.name]()
    if isinstance(drawn, list | tuple):
        return type(drawn)(map(made, drawn))
    if isinstance(drawn, dict):
        return {key: made(value) for key, value in drawn.items()}
    if isinstance(drawn, types.SimpleNamespace | collections.UserDict):
        return type(drawn)(part=made(vars(drawn).get("data", vars(drawn))["part"]))
    return drawn


ANYTHING = st.recursive(
    SCALARS | st.sampled_from(QUICK).map(Of),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(SCALARS.filter(lambda key: key == key), inner, max_size=4)
        | inner.map(lambda value: types.SimpleNamespace(part=value))
        | inner.map(lambda value: collections.UserDict(part=value))
    ),
    max_leaves=12,
)


@pytest.mark.timeout(600)
@sized(1_000)
@given(value=ANYTHING)
def test_random_objects_everywhere(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    root = tmp_path_factory.mktemp("zoo")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PENSTOCK_DIR", str(root))
        run = use(made(value))
        run.finish()
        (folder,) = spools_in(root)
    batch = read_batch(folder)
    batch.frames, batch.records = fit_all(batch.frames, batch.records, Room(1 << 40, 1 << 40))
    taken = decode_batch(encode_batch(batch))
    ledger = Ledger()
    ledger.committed = {"w": {1: encode_batch(taken)}}
    check(ledger)
