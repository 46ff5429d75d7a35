"""Types of the fields of records: each describes its values, and tells whether one fits."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from penstock.errors import Rejected
from penstock.wire.names import check_key

__all__ = [
    "MAX_DEPTH",
    "MAX_FIELD_CHARS",
    "MAX_JSON_CHARS",
    "MAX_NAME_CHARS",
    "MAX_TEXT_CHARS",
    "Choice",
    "Field",
    "FieldType",
    "Flag",
    "Integer",
    "JsonText",
    "KeyName",
    "Map",
    "Text",
    "Texts",
    "is_plain",
]

MAX_TEXT_CHARS: Final = 2**20
MAX_NAME_CHARS: Final = 4_096
MAX_JSON_CHARS: Final = 8 * 2**20
MAX_FIELD_CHARS: Final = 4_096
"""For a key in a map, such as a name in config."""
MAX_DEPTH: Final = 128
_MAX_JSON_DEPTH = 200  # readers can write up to 254 levels
_MAX_TAGS = 10_000
_PLAIN = frozenset({type(None), bool, int, float, str, list, dict})


# Each field type describes its values in `words` and tells whether one `fits` unchanged.


@dataclass(frozen=True)
class Text:
    """A string of at most `most` characters."""

    most: int = MAX_TEXT_CHARS

    @property
    def words(self) -> str:
        return f"str of at most {self.most:,} characters"

    def fits(self, value: Any) -> bool:
        return type(value) is str and len(value) <= self.most


@dataclass(frozen=True)
class Texts:
    """A list of at most `most` short strings, of at most `chars` characters each."""

    most: int = _MAX_TAGS
    chars: int = MAX_NAME_CHARS

    @property
    def words(self) -> str:
        return f"list of at most {self.most:,} str of {self.chars:,} characters"

    def fits(self, value: Any) -> bool:
        return (
            type(value) is list
            and len(value) <= self.most
            and all(type(each) is str and len(each) <= self.chars for each in value)
        )


@dataclass(frozen=True)
class Integer:
    low: int
    high: int
    words: str

    def fits(self, value: Any) -> bool:
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True)
class Flag:
    words: str = "bool"

    def fits(self, value: Any) -> bool:
        return type(value) is bool


@dataclass(frozen=True)
class Choice:
    of: tuple[str, ...]

    @property
    def words(self) -> str:
        return " or ".join((", ".join(self.of[:-1]), self.of[-1]))

    def fits(self, value: Any) -> bool:
        return type(value) is str and value in self.of


@dataclass(frozen=True)
class KeyName:
    """A metric name."""

    words: str = "str of 1 to 512 bytes without control characters"

    def fits(self, value: Any) -> bool:
        try:
            check_key("", value)
        except Rejected:
            return False
        return True


@dataclass(frozen=True)
class JsonText:
    """JSON in a string that readers can parse."""

    words: str = f"str of JSON, at most {MAX_JSON_CHARS:,} characters and {_MAX_JSON_DEPTH} levels"

    def fits(self, value: Any) -> bool:
        if type(value) is not str or len(value) > MAX_JSON_CHARS:
            return False
        if _SIMPLE.fullmatch(value):
            return True
        try:
            parsed = _JSON.decode(value)
            if "\\u" in value:  # readers cannot decode an escaped lone surrogate
                json.dumps(parsed, ensure_ascii=False).encode()
            if _HUGE.search(value):  # readers refuse numbers that overflow a float
                json.JSONDecoder(parse_float=_finite, parse_int=_finite).decode(value)
        except (ValueError, RecursionError):
            return False
        return (
            value.count("[") + value.count("{") <= _MAX_JSON_DEPTH
            or _depth(parsed) <= _MAX_JSON_DEPTH
        )


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _refuse(digits)


_JSON = json.JSONDecoder(parse_constant=_refuse)
_SIMPLE = re.compile(r'"[^"\\\x00-\x1f]*"|true|false|null')
_HUGE = re.compile(r"[eE]\+?\d{3}|(?<!\d)\d{300}")


@dataclass(frozen=True)
class Map:
    words: str = "plain map"

    def fits(self, value: Any) -> bool:
        return type(value) is dict and is_plain(value)


FieldType = Text | Texts | Integer | Flag | Choice | KeyName | JsonText | Map


@dataclass(frozen=True)
class Field:
    """A field of a record. A required one must be present; `fallback` replaces an invalid stored one.
    Any other may be missing or null."""

    type: FieldType
    required: bool = False
    fallback: int | str | None = None


def is_plain(value: Any) -> bool:
    """Whether this can be stored as JSON and is not nested more deeply than readers support."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            values = each
            if type(each) is dict:
                values = each.values()
                if any(type(key) is not str or len(key) > MAX_FIELD_CHARS for key in each):
                    return False
            kinds = {*map(type, values)}
            if not kinds <= _PLAIN:
                return False
            if str in kinds and any(
                type(text) is str and len(text) > MAX_TEXT_CHARS for text in values
            ):
                return False
            if list in kinds or dict in kinds:
                inner += [inside for inside in values if type(inside) in (list, dict)]
        if not inner:
            return True
        level = inner
    return False


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inside
            for each in level
            if isinstance(each, list | dict)
            for inside in (each.values() if isinstance(each, dict) else each)
        ]
    return depth
