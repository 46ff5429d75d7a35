"""`penstock.config` and `penstock.summary` before `init`: what is set there goes to the next run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from penstock.values.fields import Config, Summary
from penstock.values.slowpath import SlowPath

__all__ = ["config", "summary", "take"]


class _Held:
    """Sends nothing; see `penstock.values.fields.Sender`."""

    def fields_of(self, where: str, value: Any) -> dict[Any, Any]:
        return SlowPath().fields_of(where, value)

    def send(self, values: dict[Any, Any], still: Callable[[str], bool]) -> None:
        pass


class _EarlyConfig(Config):
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            _refuse("config", name)

    def take(self) -> dict[str, Any]:
        taken = {**self._values}
        self._values.clear()
        return taken


class _EarlySummary(Summary):
    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            _refuse("summary", name)

    def take(self) -> dict[str, Any]:
        taken = {**self._values}
        self._values.clear()
        return taken


def _refuse(what: str, name: str) -> NoReturn:
    raise AttributeError(f"call penstock.init() before penstock.{what}.{name}")


def _nothing() -> dict[str, Any]:
    return {}


config = _EarlyConfig(_Held())
summary = _EarlySummary(_Held(), _nothing)


def take() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The config and summary set so far, which are empty then."""
    return config.take(), summary.take()
