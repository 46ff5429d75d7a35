"""What a name of W&B's gives that is not there: a harmless object, or an error that says why.

A script that decorates its runs goes on, unless it asks for `strict`; one that would read data back stops, since a stand-in would let it
train from no checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NoReturn

from penstock.errors import NotSupported
from penstock.notices import NOTICES
from penstock.surface.names import Table, Use

__all__ = ["Ignored", "absent", "usable"]

_RETURNS_DATA = frozenset(
    {
        "checkout", "download", "file", "files", "get", "get_column", "get_dataframe", "get_entry",
        "get_path", "used_by", "verify",
    }
)  # fmt: skip
"""Methods of W&B's objects that return data."""
_classes: dict[str, Any] = {}


class Ignored:
    """Accepts every call and does nothing; empty and false. Left out where it is logged.

    Methods that would return data raise `NotSupported`.
    """

    __penstock_left_out__ = "it has no effect"
    """Why it is left out."""
    _name = "Ignored"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        what = f"{self._name}.{name}"
        if name in _RETURNS_DATA:
            _raise(what, self.__penstock_left_out__)
        return _class_of(what, self.__penstock_left_out__)()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _class_of(f"{self._name}()", self.__penstock_left_out__)()

    def __enter__(self) -> Ignored:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __getitem__(self, key: Any) -> Any:
        raise KeyError(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def __repr__(self) -> str:
        return f"<{self._name}: {self.__penstock_left_out__}>"


class _Noted(type):
    """Says once that a class has no effect, when its first object is made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        name, why = getattr(cls, "_name", ""), getattr(cls, "__penstock_left_out__", "")
        if name.count(".") == 1 and not name.endswith(")"):  # not a part of one that was noted
            _note(name, why)
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        """Such as `Histogram.create`, or a member of an enum."""
        if name.startswith("_"):
            raise AttributeError(name)
        return Ignored.__getattr__(cls, name)  # type: ignore[arg-type]


class _Raising:
    """A function that would return data."""

    def __init__(self, what: str, why: str) -> None:
        self._what, self._why = what, why

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        _raise(self._what, self._why)

    def __repr__(self) -> str:
        return f"<{self._what}: {self._why}>"


def absent(table: Table, name: str, where: str) -> Any:
    """What the attribute `name` of `where` gives, which is not there.

    Raises AttributeError for what is no name of W&B's, ImportError for a module, NotSupported for an attribute
    that holds data. A function that would return data raises when it is called.
    """
    found = table.get(name)
    if found is None or found.use is Use.UNKNOWN:
        why = f": it is {found.about}" if found is not None else ""
        raise AttributeError(f"{where} has no attribute {name!r}{why}")
    what = f"{where}.{name}"
    if found.use is Use.MISSING:
        raise ImportError(f"there is no {what}: {found.about}", name=what)
    if found.use is Use.UNREADABLE:
        _raise(what, found.about)
    if found.use is Use.RAISES:
        return _Raising(what, found.about)
    made = _class_of(what, found.about)
    # A class stays one, for isinstance and for subclasses.
    return made if name[:1].isupper() else made()


def usable(table: Table) -> list[str]:
    """The names that `dir()` shows: those that can be read."""
    hidden = (Use.MISSING, Use.UNKNOWN, Use.UNREADABLE)
    return [name for name, found in table.items() if found.use not in hidden]


def _class_of(what: str, why: str) -> Any:
    made = _classes.get(what)
    if made is None:
        module, _, name = what.rpartition(".")
        parts = {"__penstock_left_out__": why, "_name": what, "__module__": module}
        made = _classes[what] = _Noted(name, (Ignored,), parts)
    return made


def _note(what: str, why: str) -> None:
    if NOTICES.strict:
        _raise(what, why)
    NOTICES.warn(f"name {what}", f"{what} has no effect: {why}")


def _raise(what: str, why: str) -> NoReturn:
    raise NotSupported(f"{what} is not supported: {why}")
