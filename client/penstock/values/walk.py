"""Converts values: to plain ones now, or to a `Later` if they must not be inspected here.

The logging thread handles users' objects here, so this touches only exact types and calls none of
their code: subclasses of str, int, dict and so on are read with their base's methods. Anything that
requires users' code becomes a `Later`, which is read on a side thread (`penstock.values.aside`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import GetSetDescriptorType
from typing import Any, cast

__all__ = [
    "LEFT_OUT",
    "Copies",
    "Later",
    "NotKept",
    "ValueTooLarge",
    "Walk",
    "clean",
    "quick",
    "type_name",
]

MAX_TEXT_CHARS = 1 << 20
_MAX_LOGGED_TEXT_CHARS = 7_000_000
MAX_ENTRIES = 400_000
MAX_VALUE_BYTES = 8 << 20
"""Larger values are left out, since no batch could carry them."""
_MAX_DEPTH = 100
_MAX_KEY_CHARS = 4_096
_INT64 = 2**63
_DEEPER = "…"
_MAX_INT_BITS = 14_000  # Python does not print numbers of more than about 4,300 digits

LEFT_OUT: Any = object()
"""Marks a value that is not kept at all."""

_read_name = cast("GetSetDescriptorType", type.__dict__["__name__"]).__get__
_read_module = cast("GetSetDescriptorType", type.__dict__["__module__"]).__get__
_PLAIN = frozenset({bool, float, type(None)})
_ROOMS = (str, int, float, dict, list, tuple, set, frozenset, bytes, bytearray)

Note = Callable[[str, str], None]


class Later:
    """A value, or a map's key, to be read on the side thread. `read()` returns plain values or
    objects to convert further. `trusted`: no users' code is involved, so there is no time limit."""

    __slots__ = ("depth", "kind", "read", "result", "settled", "trusted", "walk", "where")

    def __init__(
        self, walk: Walk, where: str, kind: type, read: Callable[[], Any], depth: int, trusted: bool
    ) -> None:
        self.walk = walk
        self.where = where
        self.kind = kind
        self.read = read
        self.depth = depth
        self.trusted = trusted
        self.settled = False
        self.result: Any = None

    @property
    def kind_name(self) -> str:
        return type_name(self.kind)

    def settle(self, found: Any) -> None:
        """Receive the result of `read`."""
        self.finish(self.walk.take(self.where, found, self.depth + 1))

    def fail(self, reason: str) -> None:
        """It cannot be read: use its type's name instead, or nothing if that is unknown."""
        self.walk.note(self.where, reason)
        self.finish(LEFT_OUT if self.kind is object else f"<{type_name(self.kind)}>")

    def finish(self, result: Any) -> None:
        self.result, self.settled = result, True
        self.read = _nothing  # releases the object


class Copies:
    """How many bytes of arrays may still be copied for one row, and how many have been."""

    __slots__ = ("room", "taken")

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = 0

    def take(self, size: int) -> bool:
        """Whether this much more may be copied; if so, it counts as copied."""
        if size > self.room:
            return False
        self.room -= size
        self.taken += size
        return True


class Walk:
    """Converts one value. `note(where, reason)` is called for what is cut, repaired or left out.
    A `Later` of an unknown object calls `odd(walk, where, value, as_list)`; `as_list`: arrays become
    lists instead of histograms. `tells`: also note objects kept as text."""

    __slots__ = (
        "_bytes", "_entries", "_path", "_seen", "as_list", "copies", "note", "odd", "pending", "tells",
    )  # fmt: skip

    def __init__(
        self, note: Note, odd: Callable[[Walk, str, Any, bool], Any], *,
        as_list: bool, copies: Copies, tells: bool = False,
    ) -> None:  # fmt: skip
        self.note = note
        self.odd = odd
        self.as_list = as_list
        self.copies = copies
        self.tells = tells
        self.pending = 0
        """Number of `Later`s in the result."""
        self._seen: dict[int, tuple[Any, int, int, Any]] = {}
        self._entries = MAX_ENTRIES
        self._bytes = MAX_VALUE_BYTES
        self._path: set[int] = set()

    def whole(self, where: str, value: Any) -> Any:
        """The value, plain except for any `Later`s in it; `LEFT_OUT` if it is too large."""
        try:
            return self.take(where, value, 0)
        except ValueTooLarge as reason:
            self.note(where, f"left out: {reason}")
            return LEFT_OUT

    def take(self, where: str, value: Any, depth: int) -> Any:
        """The same for a part of the value. Raises `ValueTooLarge`."""
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        if kind is str:
            return self.text(where, value)
        if kind is int:
            return self._integer(where, value)
        if kind is Later:
            return value
        base = next((base for base in _ROOMS if issubclass(kind, base)), None)
        if base is None:
            return self._object(where, value, kind, depth)
        if base is str:
            return self.text(where, str.__str__(value))
        if base is int:
            return self._integer(where, int.__int__(value))
        if base is float:
            return float.__float__(value)
        if base is bytes or base is bytearray:
            return self.text(
                where, bytes(memoryview(value)[: 4 * MAX_TEXT_CHARS]).decode(errors="replace")
            )
        return self._inside(where, value, base, depth)

    def later(
        self, where: str, kind: type, read: Callable[[], Any], depth: int, *, trusted: bool = False
    ) -> Later:
        self.pending += 1
        return Later(self, where, kind, read, depth, trusted)

    def text(self, where: str, text: str) -> str:
        most = MAX_TEXT_CHARS if self.as_list else _MAX_LOGGED_TEXT_CHARS
        if len(text) > most:
            self.note(where, f"cut to {most:,} of {len(text):,} characters")
            text = text[:most]
        if not text.isascii():
            kept = clean(text)
            if kept != text:
                self.note(where, "repaired: lone surrogates became question marks")
                text = kept
        self._spend(0, len(text) if text.isascii() else len(text.encode()))
        return text

    def _spend(self, entries: int, size: int) -> None:
        self._entries -= entries
        self._bytes -= size
        if self._entries < 0:
            raise ValueTooLarge(f"it has more than {MAX_ENTRIES:,} entries")
        if self._bytes < 0:
            raise ValueTooLarge(f"it is larger than {MAX_VALUE_BYTES:,} bytes")

    def _integer(self, where: str, value: int) -> Any:
        if -_INT64 <= value < 2 * _INT64:
            return value
        bits = value.bit_length()
        if bits < 1_023:
            number = float(value)
            if int(number) != value:
                self.note(where, f"rounded: a whole number of {bits:,} bits is kept as a float")
            return number
        self.note(where, f"kept as text: a whole number of {bits:,} bits")
        return str(value) if bits < _MAX_INT_BITS else f"<int of {bits:,} bits>"

    def _inside(self, where: str, value: Any, base: Any, depth: int) -> Any:
        if id(value) in self._path or depth >= _MAX_DEPTH:
            why = "contains itself" if id(value) in self._path else "is nested too deeply"
            self.note(where, f"cut: it {why}")
            return _DEEPER
        seen = self._seen.get(id(value))
        if seen is not None:  # seen before: not converted again, but counted
            self._spend(*seen[1:3])
            return seen[0]
        before = self._entries, self._bytes
        self._spend(1 + base.__len__(value), 8 * (1 + base.__len__(value)))
        self._path.add(id(value))
        try:
            taken = self._parts(where, value, base, depth)
        finally:
            self._path.discard(id(value))
        spent = before[0] - self._entries, before[1] - self._bytes
        self._seen[id(value)] = (taken, *spent, value)
        return taken

    def _parts(self, where: str, value: Any, base: Any, depth: int) -> Any:
        if base is dict:
            return self._mapping(where, [*dict.items(value)], depth)
        items = [*base.__iter__(value)]
        if _PLAIN.issuperset(map(type, items)):
            return items
        before, self.as_list = self.as_list, True
        try:
            taken = [self.take(where, item, depth + 1) for item in items]
            return [each for each in taken if each is not LEFT_OUT]
        finally:
            self.as_list = before

    def _entry(self, where: str, value: Any, depth: int) -> Any:
        """The value of a map's entry; at the top level, only a too large entry itself is left out."""
        if depth > 0:
            return self.take(where, value, depth + 1)
        before = self._entries, self._bytes
        try:
            return self.take(where, value, depth + 1)
        except ValueTooLarge as reason:
            self._entries, self._bytes = before
            self.note(where, f"left out: {reason}")
            return LEFT_OUT

    def _mapping(self, where: str, items: list[tuple[Any, Any]], depth: int) -> dict[Any, Any]:
        if all(type(key) is str and key.isascii() and len(key) <= 512 for key, _ in items):
            self._spend(0, sum(len(key) for key, _ in items))
            return {
                key: kept
                for key, value in items
                if (kept := self._entry(f"{where}.{key}" if where else key, value, depth))
                is not LEFT_OUT
            }
        taken: dict[Any, Any] = {}
        plain: set[str] = set()
        for key, value in items:
            name = self.key(where, key, depth)
            shown = name if type(name) is str else type_name(type(key))
            path = f"{where}.{shown}" if where else shown
            if name in taken:
                is_better = type(key) is str and name not in plain
                self.note(path, "left out: another key in the map has this name")
                if not is_better:
                    continue
            if type(key) is str:
                plain.add(name)
            kept = self._entry(path, value, depth)
            if kept is not LEFT_OUT:
                taken[name] = kept
        return taken

    def key(self, where: str, key: Any, depth: int = 0) -> Any:
        """The text of a map's key; a `Later` if that requires users' code."""
        kind = type(key)
        if issubclass(kind, str):
            text = str.__str__(key)
        elif issubclass(kind, bytes):
            text = bytes(memoryview(key)[:_MAX_KEY_CHARS]).decode(errors="replace")
        elif key is None or kind is bool or issubclass(kind, (int, float, tuple)):
            try:
                found = self.take(where, key, depth + 1)
            except ValueTooLarge:
                return self.later(where, kind, _refuse, depth)
            if kind is not bool and issubclass(kind, tuple):
                found = tuple(found) if _is_flat(found) else self.later(where, kind, _refuse, depth)
            if type(found) is Later:
                return found
            text = str(found)
        else:
            return self.later(where, kind, lambda: str(key), depth)
        if len(text) > _MAX_KEY_CHARS:
            self.note(f"{where}.{text[:40]}", f"its name was cut to {_MAX_KEY_CHARS:,} characters")
            text = text[:_MAX_KEY_CHARS]
        self._spend(0, 4 * len(text))
        return clean(text)

    def _object(self, where: str, value: Any, kind: type, depth: int) -> Any:
        if depth >= _MAX_DEPTH:
            self.note(where, "cut: it is nested too deeply")
            return _DEEPER
        home = _read_module(kind)
        if type(home) is str and home.partition(".")[0] in _ARRAY_HOMES:
            from penstock.values.arrays import taken  # noqa: PLC0415  (only where there are arrays)

            try:
                found = taken(self, where, value, depth)
            except ValueTooLarge:
                raise
            except Exception:  # such as a tensor without data: try again on the side thread
                found = LEFT_OUT
            if found is not LEFT_OUT:
                return found
        as_list = self.as_list
        return self.later(where, kind, lambda: self.odd(self, where, value, as_list), depth)


class NotKept(Exception):
    """Leave a value out, with the reason."""


class ValueTooLarge(NotKept):
    """It is too large."""


_ARRAY_HOMES = frozenset({"numpy", "torch", "jax", "jaxlib", "tensorflow"})


def quick(value: Any) -> Any:
    """A plain number, or one of numpy's or torch's types; `LEFT_OUT` for anything else."""
    kind = type(value)
    if kind is float or kind is bool or value is None:
        return value
    if kind is int:
        return value if -_INT64 <= value < _INT64 else LEFT_OUT
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.number):
        found = value.item() if _read_module(kind) == "numpy" else None
        return found if type(found) is float or type(found) is int else LEFT_OUT
    torch: Any = sys.modules.get("torch")
    if torch is None or kind is not torch.Tensor:
        return LEFT_OUT
    try:
        is_plain = value.layout is torch.strided and value.device.type == "cpu"
        if not is_plain or value.numel() != 1 or value.is_quantized:
            return LEFT_OUT
        found = value.item()
    except Exception:  # such as a tensor inside a transformation: try again on the side thread
        return LEFT_OUT
    return found if type(found) is float or type(found) is int else LEFT_OUT


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode, with question marks."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def type_name(kind: type) -> str:
    """A type's own name, regardless of its metaclass."""
    return clean(str.__str__(_read_name(kind))[:200])


def _is_flat(found: list[Any]) -> bool:
    return all(each is None or type(each) in (str, int, float, bool) for each in found)


def _refuse() -> Any:
    raise TypeError("this key has no short text form")


def _nothing() -> Any:
    return None
