"""Hostile bytes for the wire format: batches that look right, nearly right, and not at all."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgpack
import zstandard

__all__ = ["Hostile", "mutated"]

_INTEGERS = (
    0, 1, -1, 2, 7, 127, 128, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 - 1, 2**53, -(2**53),
    2**63 - 1, -(2**63), 2**64 - 1,
)  # fmt: skip
_FLOATS = (0.0, -0.0, 1.5, 5e-324, 1.8e308, float("nan"), float("inf"), float("-inf"))
_TEXTS = (
    "", "a", "loss", "train/loss", "a/b", ".", "..", " a", "a\x00", "\x7f", "é", "損失", "😀",
    "\ud800", "k" * 128, "k" * 129, "k" * 512, "k" * 513, "_step", "\u202e", "a\u0301",
)  # fmt: skip
_KINDS = (
    "run", "config", "summary", "state", "value", "console", "define_metric", "alert", "magic",
)  # fmt: skip


class Hostile:
    """Cases drawn from one source of random numbers."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def case(self, known: Sequence[bytes]) -> bytes:
        """The next case: noise, a known one changed, or one built from the grammar."""
        rng = self.rng
        kind = rng.randrange(10)
        if kind == 0:
            return rng.randbytes(rng.randrange(200))
        if kind <= 3 and known:
            return mutated(rng, rng.choice(known))
        raw = self.batch()
        if kind <= 5:
            raw = mutated(rng, raw)
        return zstandard.ZstdCompressor(level=1).compress(raw) if rng.random() < 0.1 else raw

    def batch(self) -> bytes:
        """A batch by the grammar, in which a few things may be anything."""
        rng = self.rng
        fields: dict[Any, Any] = {
            "v": 1,
            "project": "p",
            "run": "r",
            "writer": "w",
            "seq": rng.randrange(1, 2**32),
            "writer_started": rng.randrange(2**63),
            "rank": rng.randrange(2**31),
            "acked": 0,
            "sent_at": rng.randrange(2**63),
            "frames": [self._frame() for _ in range(rng.randrange(3))],
            "records": [self._record() for _ in range(rng.randrange(3))],
            "client": {"version": "1", "retries": 0},
        }
        self._spoil(fields, 0.4)
        if rng.random() < 0.2:
            fields["entity"] = self._maybe("e", 0.5)
        return _packed(fields)

    def _frame(self) -> Any:
        rng = self.rng
        keys = [f"k{i}" for i in range(rng.randrange(1, 4))]
        rows = rng.randrange(1, 5)
        frame: dict[Any, Any] = {
            "keys": keys,
            "steps": self._column(rows, range(rows)),
            "times": self._column(rows, range(rows)),
            "values": rng.randbytes(8 * rows * len(keys)),
        }
        if rng.random() < 0.3:
            frame["ints"] = bytes(rng.randrange(2) for _ in keys)
        if rng.random() < 0.1:
            frame["keys"] = [self._maybe(key, 0.5) for key in keys]
        self._spoil(frame, 0.2)
        return self._maybe(frame, 0.03)

    def _column(self, rows: int, good: range) -> bytes:
        rng = self.rng
        if rng.random() < 0.1:
            edges = [n for n in _INTEGERS if -(2**63) <= n < 2**63]
            return struct.pack(f"<{rows}q", *(rng.choice(edges) for _ in range(rows)))
        return struct.pack(f"<{rows}q", *good)

    def _record(self) -> Any:
        rng = self.rng
        kind = rng.choice(_KINDS)
        record: dict[Any, Any] = {
            "t": kind, "key": "k", "step": 1, "time": 1, "kind": "string", "json": '"x"',
            "update": {"lr": 0.1}, "state": "running", "line": 1, "stream": "stdout", "text": "t",
        }  # fmt: skip
        self._spoil(record, 0.4)
        return self._maybe(record, 0.03)

    def _spoil(self, fields: dict[Any, Any], chance: float) -> None:
        rng = self.rng
        if rng.random() >= chance:
            return
        name = rng.choice(list(fields))
        if rng.random() < 0.2:
            del fields[name]
        elif rng.random() < 0.1:
            fields[self.anything()] = fields.pop(name)
        else:
            fields[name] = self.anything()

    def _maybe(self, value: Any, chance: float) -> Any:
        return self.anything() if self.rng.random() < chance else value

    def anything(self) -> Any:
        """A value of any type that msgpack knows, and that may stand as a key too."""
        rng = self.rng
        return rng.choice(_MAKERS)(rng)


def _nested(rng: random.Random) -> _Packed:
    depth = rng.choice((2, 50, 300, 500, 1_000, 1_023, 2_000, 20_000))
    return _Packed(rng.choice((b"\x91", b"\x81\xa1t")) * depth + b"\xc0")


def _list(rng: random.Random) -> _Packed:
    return _Packed(_packed([rng.choice(_TEXTS) for _ in range(rng.randrange(4))]))


def _map(rng: random.Random) -> _Packed:
    keys = [rng.choice((*_TEXTS, *_INTEGERS, b"b", True)) for _ in range(rng.randrange(3))]
    return _Packed(_packed({key: rng.choice(_TEXTS) for key in keys}))


_MAKERS: tuple[Callable[[random.Random], Any], ...] = (
    lambda rng: rng.choice(_INTEGERS),
    lambda rng: rng.choice(_INTEGERS),
    lambda rng: rng.choice(_FLOATS),
    lambda rng: rng.choice(_TEXTS),
    lambda rng: rng.choice(_TEXTS),
    lambda rng: rng.choice((None, True, False)),
    lambda rng: rng.randbytes(rng.choice((0, 1, 7, 8, 16, 64))),
    lambda rng: msgpack.ExtType(rng.randrange(128), rng.randbytes(rng.randrange(9))),
    lambda rng: msgpack.Timestamp(rng.randrange(2**34), 0),
    _nested,
    _list,
    _map,
)


class _Packed:
    """Bytes that are msgpack already; stands where msgpack's own packer would not go."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _packed(value: Any) -> bytes:
    if isinstance(value, _Packed):
        return value.data
    if isinstance(value, dict):
        parts = [_packed(part) for item in value.items() for part in item]
        return b"".join([msgpack.Packer().pack_map_header(len(value)), *parts])
    if isinstance(value, list):
        parts = [_packed(part) for part in value]
        return b"".join([msgpack.Packer().pack_array_header(len(value)), *parts])
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return packed


def mutated(rng: random.Random, raw: bytes) -> bytes:
    """The same bytes with a few of them flipped, lost, repeated, swapped or new."""
    data = bytearray(raw)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(data) + 1)
        some = rng.randrange(1, 9)
        match rng.randrange(7):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.choice((0, 0x7F, 0x80, 0xFF, 0xC1, 0xDD, 0xDF, 0xC6, 0xDB))
            case 2:
                del data[at : at + some]
            case 3:
                data[at:at] = rng.randbytes(some)
            case 4:
                data[at:at] = data[at : at + some] * rng.randrange(1, 5)
            case 5:
                del data[at:]
            case _:
                other = rng.randrange(len(data) + 1)
                data[at : at + some] = data[other : other + some]
    return bytes(data)
