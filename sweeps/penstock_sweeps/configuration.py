"""A sweep's configuration: YAML as people write it, checked, and what it means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from penstock.errors import Rejected
from penstock_sweeps.distributions import bad_sweep
from penstock_sweeps.hyperband import Hyperband
from penstock_sweeps.space import Space, read_space

__all__ = ["SweepConfiguration", "read_configuration"]

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
_MOST_BYTES = 256 << 10
_MOST_NODES = 100_000
_KNOWN = frozenset(
    {
        "method", "parameters", "metric", "run_cap", "early_terminate", "program", "command", "name",
        "description", "project", "entity",
    }
)  # fmt: skip


# Written in C where it is there: a server has no second to spare for a long list.
_Fastest = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Fastest):  # type: ignore[misc, valid-type]
    """YAML in which 1e-4 is a number, as everybody means it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


@dataclass(frozen=True, slots=True)
class SweepConfiguration:
    """What a sweep searches, and how.

    `goal` is minimize or maximize, for `metric`; both are empty where there is none. `warnings`
    tell of what is not used here.
    """

    method: str
    space: Space
    metric: str
    goal: str
    run_cap: int | None
    hyperband: Hyperband | None
    name: str
    description: str
    program: str
    command: tuple[str, ...]
    project: str
    entity: str
    warnings: tuple[str, ...]

    @property
    def cap(self) -> int | None:
        """How many trials there are at most; None without an end."""
        size = self.space.grid_size if self.method == "grid" else None
        ends = [end for end in (size, self.run_cap) if end is not None]
        return min(ends) if ends else None


@lru_cache(maxsize=256)
def read_configuration(text: str) -> SweepConfiguration:
    """The configuration in a YAML (or JSON) text. Raises `Rejected` that says what is wrong."""
    if len(text) > _MOST_BYTES:
        raise Rejected("the configuration is larger than 256 KiB", code="too_large", status=413)
    try:
        given = yaml.load(text, _Loader)  # noqa: S506  (it is a safe loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        bad_sweep(f"this is not YAML: {' '.join(str(error).split())}")
    if not isinstance(given, dict):
        bad_sweep("the configuration must be an object with `method` and `parameters`")
    _check_nodes(given)
    return _read({str(key): value for key, value in given.items()})


def _check_nodes(given: Any) -> None:
    """Refuse what JSON cannot say, and what has grown out of bounds through YAML's aliases."""
    left, seen = [given], 0
    while left:
        node = left.pop()
        seen += 1
        if seen > _MOST_NODES:
            bad_sweep(f"the configuration has more than {_MOST_NODES:,} parts")
        if isinstance(node, dict):
            left += node.values()
        elif isinstance(node, list):
            left += node
        elif node is not None and not isinstance(node, str | int | float):
            bad_sweep(f"{node!r} is a {type(node).__name__}: write it in quotes, as text")


def _read(given: dict[str, Any]) -> SweepConfiguration:
    method = given.get("method")
    if method not in METHODS:
        bad_sweep(f"`method` must be grid, random or bayes, not {method!r}")
    metric, goal = _metric(given.get("metric"))
    hyperband = _early_stopping(given.get("early_terminate"))
    if method == "bayes" and not metric:
        bad_sweep("the method bayes needs a `metric` with a `name`")
    if hyperband is not None and not metric:
        bad_sweep("`early_terminate` needs a `metric` with a `name`")
    space = read_space(given.get("parameters"))
    if method == "grid" and not space.grid_size:
        bad_sweep("the grid is empty")
    return SweepConfiguration(
        method=method,
        space=space,
        metric=metric,
        goal=goal,
        run_cap=_whole("run_cap", given.get("run_cap"), 1),
        hyperband=hyperband,
        name=_text("name", given.get("name")),
        description=_text("description", given.get("description")),
        program=_text("program", given.get("program")),
        command=_command(given.get("command")),
        project=_text("project", given.get("project")),
        entity=_text("entity", given.get("entity")),
        warnings=tuple(f"{key!r} has no effect here" for key in given if key not in _KNOWN),
    )


def _metric(given: Any) -> tuple[str, str]:
    if given is None:
        return "", ""
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        bad_sweep("`metric` must be an object with the `name` of what is logged")
    goal = given.get("goal", "minimize")
    if goal not in GOALS:
        bad_sweep(f"the `goal` of the metric must be minimize or maximize, not {goal!r}")
    return given["name"], goal


def _early_stopping(given: Any) -> Hyperband | None:
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        bad_sweep("`early_terminate` must be an object with `type: hyperband`")
    unknown = sorted(set(map(str, given)) - {"type", "min_iter", "max_iter", "s", "eta", "strict"})
    if unknown:
        bad_sweep(f"early_terminate: {unknown[0]!r} is not known here")
    eta = given.get("eta", 3)
    if isinstance(eta, bool) or not isinstance(eta, int | float) or not 1 < eta < math.inf:
        bad_sweep("early_terminate: `eta` must be a number above 1")
    lowest = _whole("early_terminate: min_iter", given.get("min_iter"), 1)
    highest = _whole("early_terminate: max_iter", given.get("max_iter"), 1)
    steps = _whole("early_terminate: s", given.get("s"), 1)
    if lowest is None and (highest is None or steps is None):
        bad_sweep("early_terminate: it needs `min_iter`, or `max_iter` and `s`")
    return Hyperband(lowest, highest, steps, float(eta), bool(given.get("strict", False)))


def _whole(name: str, value: Any, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        bad_sweep(f"{name} must be a whole number from {least}, not {value!r}")
    return value


def _command(given: Any) -> tuple[str, ...]:
    if given is None:
        return ()
    words = given.split() if isinstance(given, str) else given
    if not isinstance(words, list) or not words or any(isinstance(w, dict | list) for w in words):
        bad_sweep("`command` must be a list of words")
    return tuple(map(str, words))


def _text(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str | int | float):
        bad_sweep(f"`{name}` must be text")
    return "" if value is None else str(value).replace("\0", "")
