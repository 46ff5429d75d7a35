"""Objects of every kind, honest and hostile, by name: what scripts may hand to the client."""

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
from typing import Any

import ml_dtypes
import numpy as np
import pydantic
import torch
from omegaconf import OmegaConf

__all__ = ["SLOW", "ZOO"]

pd: Any = importlib.import_module("pandas")  # which has no types


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
    return OmegaConf.create({"a": [1, {"b": 2}], "missing": "???", "bad": "${nothing}"})


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

SLOW = frozenset(
    {"sleeping", "looping", "list of odd", "shared", "odd list", "long list", "broadcast", "big"}
)
"""Those that take long, or hang."""
