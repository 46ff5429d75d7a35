"""Parses the filter language (MongoDB's) into a tree.

`{path: value | {operator: operand}}`, `$and`, `$or` and `$nor` of a list of filters, `$not` of one.
Depth, size and patterns are limited; errors name their location. Pure.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from penstock_storage.search.cells import MAX_TEXT_CHARS, Scalar, nearest
from penstock_storage.search.paths import OPTIONAL, Path, bad_request, parse_path
from penstock_storage.search.patterns import Pattern

__all__ = [
    "AllOf", "AnyOf", "Compares", "Exists", "Filter", "Inverse", "IsList", "Matches", "OneOf",
    "parse_filter", "paths_of",
]  # fmt: skip

_MAX_DEPTH = 20
_MAX_CONDITIONS = 500
_MAX_PARTS = 2_000
_MAX_VALUES = 10_000
_MAX_TOTAL_VALUES = 50_000
_MAX_PATTERNS = 20  # one may take 0.2 s and 10 MB to compile
_OPERATORS = (
    "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$regex", "$not",
)  # fmt: skip
_TIMES = frozenset({Path("", "created_at"), Path("", "updated_at")})

Values = tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Equal to one of these; None also matches runs without the path."""

    path: Path
    values: Values


@dataclass(frozen=True, slots=True)
class IsList:
    """Exactly this list."""

    path: Path
    values: Values


@dataclass(frozen=True, slots=True)
class Compares:
    """`operator` is $gt, $gte, $lt or $lte."""

    path: Path
    operator: str
    operand: str | float | bool


@dataclass(frozen=True, slots=True)
class Exists:
    path: Path


@dataclass(frozen=True, slots=True)
class Matches:
    path: Path
    pattern: Pattern


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Inverse:
    part: Filter


Filter = OneOf | IsList | Compares | Exists | Matches | AllOf | AnyOf | Inverse


def parse_filter(found: object) -> Filter:
    """The tree of a filter in JSON. Raises `Rejected` (400)."""
    parser = _Parser()
    return parser.filter(found, "filter", 0)


def paths_of(filter_: Filter) -> Iterator[Path]:
    """Every path in the filter."""
    match filter_:
        case AllOf(parts) | AnyOf(parts):
            for each in parts:
                yield from paths_of(each)
        case Inverse(part):
            yield from paths_of(part)
        case _:
            yield filter_.path


class _Parser:
    """Counts parts, so that a filter cannot be arbitrarily large."""

    def __init__(self) -> None:
        self._conditions = 0
        self._filters_seen = 0
        self._values_seen = 0
        self._patterns = 0

    def filter(self, found: object, place: str, depth: int) -> Filter:
        if depth > _MAX_DEPTH:
            raise bad_request(f"{place}: filters are nested more than {_MAX_DEPTH} levels deep")
        if not isinstance(found, Mapping):
            raise bad_request(f"{place} must be an object")
        self._filters_seen += 1
        if self._filters_seen > _MAX_PARTS:
            raise bad_request(f"{place}: a filter may have at most {_MAX_PARTS} parts")
        parts: list[Filter] = []
        for key, value in found.items():
            inner = f"{place}.{key[:100]}"
            match key:
                case "$and":
                    parts.append(AllOf(self._filters(value, inner, depth)))
                case "$or":
                    parts.append(AnyOf(self._filters(value, inner, depth)))
                case "$nor":
                    parts.append(Inverse(AnyOf(self._filters(value, inner, depth))))
                case "$not":
                    parts.append(Inverse(self.filter(value, inner, depth + 1)))
                case _ if key.startswith("$"):
                    raise bad_request(f"{inner} is unknown; known are $and, $or, $nor and $not")
                case _:
                    path = parse_path(key, place)
                    parts.append(self._conditions_on(path, value, inner, depth))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _filters(self, found: object, place: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(found, list) or not found:
            raise bad_request(f"{place} must be a list of filters")
        return tuple(
            self.filter(each, f"{place}[{at}]", depth + 1) for at, each in enumerate(found)
        )

    def _conditions_on(self, path: Path, found: object, place: str, depth: int) -> Filter:
        if not isinstance(found, Mapping):
            return self._condition(path, "$eq", found, place, depth)
        if not found:
            raise bad_request(f"{place} must be a value or an object of operators")
        parts = tuple(
            self._condition(path, operator, operand, f"{place}.{operator[:100]}", depth)
            for operator, operand in found.items()
        )
        return parts[0] if len(parts) == 1 else AllOf(parts)

    def _condition(
        self, path: Path, operator: str, found: object, place: str, depth: int
    ) -> Filter:
        self._conditions += 1
        if self._conditions > _MAX_CONDITIONS:
            raise bad_request(f"{place}: a filter may have at most {_MAX_CONDITIONS} conditions")
        if depth > _MAX_DEPTH:
            raise bad_request(f"{place}: filters are nested more than {_MAX_DEPTH} levels deep")
        match operator:
            case "$eq":
                if isinstance(found, list) and (found or path not in OPTIONAL):
                    return IsList(path, self._values(path, found, place))
                value = None if found == [] else _scalar(path, found, place)
                return OneOf(path, _or_unset(path, (value,)))
            case "$in":
                return OneOf(path, _or_unset(path, self._values(path, found, place)))
            case "$gt" | "$gte" | "$lt" | "$lte":
                operand = _scalar(path, found, place)
                if operand is None:
                    raise bad_request(f"{place} must be a number, a string or a boolean")
                return Compares(path, operator, operand)
            case "$exists":
                if not isinstance(found, bool):
                    raise bad_request(f"{place} must be true or false")
                return Exists(path) if found else Inverse(Exists(path))
            case "$regex":
                return Matches(path, self._pattern(found, place))
            case "$ne" | "$nin":
                positive = {"$ne": "$eq", "$nin": "$in"}[operator]
                return Inverse(self._condition(path, positive, found, place, depth))
            case "$not":
                if not isinstance(found, Mapping):
                    raise bad_request(f"{place} must be an object of operators")
                return Inverse(self._conditions_on(path, found, place, depth + 1))
            case _:
                raise bad_request(f"{place}: unknown operator", f"Known: {', '.join(_OPERATORS)}.")

    def _values(self, path: Path, found: object, place: str) -> Values:
        if not isinstance(found, list):
            raise bad_request(f"{place} must be a list")
        self._values_seen += len(found)
        if len(found) > _MAX_VALUES or self._values_seen > _MAX_TOTAL_VALUES:
            raise bad_request(f"{place} has more than {_MAX_VALUES} values")
        return tuple(_scalar(path, each, f"{place}[{at}]") for at, each in enumerate(found))

    def _pattern(self, found: object, place: str) -> Pattern:
        if not isinstance(found, str):
            raise bad_request(f"{place} must be a string")
        self._patterns += 1
        if self._patterns > _MAX_PATTERNS:
            raise bad_request(f"{place}: a filter may have at most {_MAX_PATTERNS} patterns")
        try:
            return Pattern(found)
        except ValueError as error:
            raise bad_request(f"{place} {error}") from None


def _or_unset(path: Path, values: Values) -> Values:
    """An empty text means a field that was never set, like null."""
    if path not in OPTIONAL:
        return values
    return tuple(None if each == "" else each for each in values)


def _scalar(path: Path, found: object, place: str) -> Scalar:
    match found:
        case None | bool():
            return found
        case int() | float():
            number = nearest(found)
            return number if number == found or isinstance(found, float) else found
        case str() if path in _TIMES:
            return _seconds(found, place)
        case str():
            return found[:MAX_TEXT_CHARS]
        case _:
            raise bad_request(f"{place} must be a number, a string, a boolean or null")


def _seconds(text: str, place: str) -> float:
    """A time in W&B's format, in UTC unless it says otherwise."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        return moment.timestamp()
    except (ValueError, OverflowError):
        raise bad_request(f"{place} must be Unix seconds or a time in ISO 8601") from None
