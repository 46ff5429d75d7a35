"""A run's config and summary: mappings with attribute access that send their changes.

They return the objects that were set and send their plain form (`penstock.values.slowpath`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

from penstock.errors import ConfigError
from penstock.values.configs import nested_value, swept
from penstock.values.nested import Nested, nested

__all__ = ["Config", "ConfigSelection", "Sender", "Summary"]


class Sender(Protocol):
    """Receives what was set."""

    def fields_of(self, where: str, value: Any) -> dict[Any, Any]:
        """The entries of a mapping or of an object with fields."""

    def send(self, values: dict[Any, Any], still: Callable[[str], bool]) -> None:
        """Store these entries with the run; `still(name)` says whether an entry is still current."""


class ConfigSelection:
    """Selects the config entries to keep: all but some, or only some. A dotted name is a nested entry.

    Raises ValueError if both are given.
    """

    def __init__(self, exclude: Any = None, include: Any = None) -> None:
        if exclude and include:
            raise ValueError("pass config_exclude_keys or config_include_keys, not both")
        self._exclude = _names(exclude)
        self._include = _names(include)

    def __bool__(self) -> bool:
        return bool(self._exclude or self._include)

    def of(
        self, values: Mapping[Any, Any], opened: Callable[[Any], dict[Any, Any]], prefix: str = ""
    ) -> dict[Any, Any]:
        """The entries to keep. `opened(value)` returns those of a nested mapping or object that is kept
        in part."""
        kept: dict[Any, Any] = {}
        for key, value in values.items():
            name = f"{prefix}{_text(key)}"
            if not self._takes(name):
                continue
            if self._splits(name) and not _is_scalar(value):
                kept[key] = self.of(opened(value), opened, f"{name}.")
            else:
                kept[key] = value
        return kept

    def _takes(self, name: str) -> bool:
        if name in self._exclude:
            return False
        if not self._include:
            return True
        return self._is_included(name) or self._splits(name)

    def _is_included(self, name: str) -> bool:
        return any(name == each or name.startswith(f"{each}.") for each in self._include)

    def _splits(self, name: str) -> bool:
        """Whether a part of what is below this name is selected, but not all."""
        if self._include:
            return not self._is_included(name) and _is_above(name, self._include)
        return _is_above(name, self._exclude)


class _Fields(MutableMapping[str, Any]):
    """A mapping with attribute access."""

    _where = "config"

    def __init__(self, sender: Sender) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_versions", {})
        object.__setattr__(self, "_sender", sender)

    _values: dict[str, Any]
    _versions: dict[str, int]
    _sender: Sender

    def __getitem__(self, key: str) -> Any:
        if key not in self._values and "." in key:
            return nested_value(self._values, key)
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._set({key: value})

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._send({key: None})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{type(self).__name__} has no {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        return repr(dict(self))

    def know(self, values: Any) -> None:
        """Take over what the server has already."""
        if isinstance(values, dict):
            self._values.update(values)

    def as_dict(self) -> dict[str, Any]:
        return dict(self)

    def _mapping(self, values: Any, named: dict[str, Any]) -> dict[Any, Any]:
        if values is None or (type(values) is tuple and not values):
            return named
        if type(values) in (Config, Summary):
            return {**values, **named}
        return {**self._sender.fields_of(self._where, values), **named}

    def _set(self, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            name = _text(key)
            if name is not None:
                self._values[name] = value
        self._send(values)

    def _send(self, values: dict[Any, Any]) -> None:
        if not values:
            return
        given = {}
        for key in values:
            name = _text(key)
            if name is not None:
                given[name] = self._versions[name] = self._versions.get(name, 0) + 1
        self._sender.send(values, lambda name: self._versions.get(name) == given.get(name))


class Config(_Fields):
    """The settings of an experiment: `run.config.lr`, `run.config["lr"]`, `run.config.update(…)`."""

    def __init__(
        self, sender: Sender, selection: ConfigSelection | None = None, *, is_fixed: bool = False
    ) -> None:
        """`is_fixed`: an entry changes only with `allow_val_change`."""
        super().__init__(sender)
        object.__setattr__(self, "_selection", selection or ConfigSelection())
        object.__setattr__(self, "_is_fixed", is_fixed)

    _selection: ConfigSelection
    _is_fixed: bool

    def update(self, values: Any = (), /, allow_val_change: Any = None, **named: Any) -> None:
        """Set several at once, from a mapping, an object with fields (an argparse Namespace, a
        dataclass, a pydantic model …), or keyword arguments.

        Values may always change; with the setting `strict` only with `allow_val_change`, otherwise
        ConfigError is raised and nothing is set.
        """
        self._set(self._mapping(values, named), may_change=bool(allow_val_change))

    def update_locked(
        self, d: Any, user: str | None = None, _allow_val_change: bool | None = None
    ) -> None:
        """An `update`; nothing is locked."""
        self.update(d, allow_val_change=True)

    def merge_locked(
        self, d: Any, user: str | None = None, _allow_val_change: bool | None = None
    ) -> None:
        """An `update` that merges nested entries; nothing is locked."""
        self.update(swept(self, self._mapping(d, {})), allow_val_change=True)

    def persist(self) -> None:
        """Does nothing: every change is sent at once."""

    def setdefaults(self, values: Any) -> None:
        """Set the entries that are not set yet."""
        given = self._mapping(values, {})
        self._set({k: v for k, v in given.items() if _text(k) not in self._values})

    def _set(self, values: dict[Any, Any], *, may_change: bool = False) -> None:
        if self._selection:
            values = self._selection.of(values, lambda part: self._sender.fields_of("config", part))
        if self._is_fixed and not may_change:
            self._refuse_changes(values)
        super()._set(values)

    def _refuse_changes(self, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            old = self._values.get(_text(key) or "", value)
            if old is not value and old != value:
                raise ConfigError(
                    f"config.{key} is {old!r} and would become {value!r}: pass allow_val_change=True"
                )


class Summary(_Fields):
    """One value per key: the last one logged, unless one was set explicitly. Changes inside a value,
    `summary["a"]["b"] = 1`, are sent too."""

    _where = "summary"

    def __init__(self, sender: Sender, logged: Callable[[], dict[str, Any]]) -> None:
        super().__init__(sender)
        object.__setattr__(self, "_logged", logged)
        object.__setattr__(self, "_known", {})

    _logged: Callable[[], dict[str, Any]]
    _known: dict[str, Any]

    def know(self, values: Any) -> None:
        """Take over the summary of earlier attempts, until it is logged or set again."""
        if isinstance(values, dict):
            self._known.update(values)

    def __getitem__(self, key: str) -> Any:
        return self._merged()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())

    def update(self, values: Any = (), /, **named: Any) -> None:
        self._set(self._mapping(values, named))

    def _set(self, values: dict[Any, Any]) -> None:
        super()._set({key: nested(value, self._changed(key)) for key, value in values.items()})

    def _changed(self, key: Any) -> Callable[[], None]:
        def changed() -> None:
            name = _text(key)
            if name in self._values and type(self._values[name]) is Nested:
                self._send({name: self._values[name]})

        return changed

    def _merged(self) -> dict[str, Any]:
        return {**self._known, **self._logged(), **self._values}


def _text(key: Any) -> str | None:
    """The name of an entry; None for a key whose text only users' code can produce."""
    kind = type(key)
    if issubclass(kind, str):
        return str.__str__(key)
    if key is None or kind is bool:
        return str(key)
    if issubclass(kind, int):
        return str(int.__int__(key))
    return str(float.__float__(key)) if issubclass(kind, float) else None


def _is_scalar(value: Any) -> bool:
    return value is None or issubclass(type(value), (str, int, float, list, tuple, bytes))


def _names(given: Any) -> frozenset[str]:
    if not given:
        return frozenset()
    return frozenset([given] if isinstance(given, str) else map(str, given))


def _is_above(name: str, names: frozenset[str]) -> bool:
    return any(each.startswith(f"{name}.") for each in names)
