"""A run's config and summary: mappings that also take attributes, and that send what is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from penstock.configs import nested_value
from penstock.values import plain

__all__ = ["Config", "Summary"]


class _Fields(MutableMapping[str, Any]):
    """A mapping with attribute access; `send` gets what was set, as plain values."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        object.__setattr__(self, "_values", {})
        object.__setattr__(self, "_send", send)

    _values: dict[str, Any]
    _send: Callable[[dict[str, Any]], None]

    def __getitem__(self, key: str) -> Any:
        if key not in self._values and "." in key:
            return nested_value(self._values, key)
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._set({key: value})

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._send({str(key): None})

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

    def as_dict(self) -> dict[str, Any]:
        return dict(self)

    def _set(self, values: Mapping[Any, Any]) -> None:
        new = {str(key): value for key, value in values.items()}
        self._values.update(new)
        if new:
            self._send(plain(new))


class Config(_Fields):
    """The settings of an experiment: `run.config.lr`, `run.config["lr"]`, `run.config.update(…)`."""

    def update(self, values: Any = (), /, allow_val_change: Any = None, **named: Any) -> None:
        """Set several at once, from a mapping, an argparse Namespace, or keyword arguments.

        `allow_val_change` is W&B's; a value may always change here.
        """
        self._set({**_as_mapping(values), **named})

    def setdefaults(self, values: Any) -> None:
        """Set what is not set yet."""
        self._set({k: v for k, v in _as_mapping(values).items() if str(k) not in self._values})


class Summary(_Fields):
    """One value per key: what was last logged, unless it was set here explicitly."""

    def __init__(
        self, send: Callable[[dict[str, Any]], None], logged: Callable[[], dict[str, Any]]
    ) -> None:
        super().__init__(send)
        object.__setattr__(self, "_logged", logged)

    _logged: Callable[[], dict[str, Any]]

    def __getitem__(self, key: str) -> Any:
        return self._merged()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._merged())

    def __len__(self) -> int:
        return len(self._merged())

    def update(self, values: Any = (), /, **named: Any) -> None:
        self._set({**_as_mapping(values), **named})

    def _merged(self) -> dict[str, Any]:
        return {**self._logged(), **self._values}


def _as_mapping(values: Any) -> dict[Any, Any]:
    if values is None:
        return {}
    if isinstance(values, Mapping):
        return dict(values)
    if hasattr(values, "__dict__"):
        return dict(vars(values))
    return dict(values)
