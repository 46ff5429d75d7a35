"""A dict inside a run's summary that reports changes so that they are sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["Nested", "nested"]


class Nested(dict[str, Any]):
    """Calls `changed()` after each change, including in nested dicts. Has attribute access, like W&B's."""

    __slots__ = ("_changed",)
    _changed: Callable[[], None]

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, nested(value, self._changed))
        self._changed()

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        self._changed()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __ior__(self, other: Any) -> Nested:  # type: ignore[override, misc]
        self.update(other)
        return self

    def __reduce__(self) -> Any:
        return dict, ({**self},)

    def update(self, *args: Any, **named: Any) -> None:
        for key, value in dict(*args, **named).items():
            super().__setitem__(key, nested(value, self._changed))
        self._changed()

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, *args: Any) -> Any:
        found = super().pop(*args)
        self._changed()
        return found

    def popitem(self) -> tuple[str, Any]:
        found = super().popitem()
        self._changed()
        return found

    def clear(self) -> None:
        super().clear()
        self._changed()


def nested(value: Any, changed: Callable[[], None], depth: int = 0) -> Any:
    """The value; a dict becomes one that reports its changes."""
    if (type(value) is not dict and type(value) is not Nested) or depth > 32:
        return value
    made = Nested()
    object.__setattr__(made, "_changed", changed)
    for key, inner in [*dict.items(value)]:
        dict.__setitem__(made, key, nested(inner, changed, depth + 1))
    return made
