"""A sweep's configuration: parses and checks its YAML."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import Rejected
from penstock_sweeps.bounded_yaml import load_yaml
from penstock_sweeps.distributions import bad_sweep
from penstock_sweeps.hyperband import Hyperband
from penstock_sweeps.space import Space, read_space

__all__ = ["SweepConfiguration", "prepare", "read_configuration", "stored_configuration"]

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
_MAX_INTEGER = 2**53
_MAX_NODES = 100_000
_MAX_CACHED = 256
_KNOWN = frozenset(
    {
        "method", "parameters", "metric", "run_cap", "early_terminate", "program", "command", "name",
        "description", "project", "entity",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SweepConfiguration:
    """A sweep's search space and method.

    `goal` is minimize or maximize, for `metric`; both are empty without one. `warnings` list unused
    parts.
    """

    method: str
    space: Space
    metric: str
    goal: str
    run_cap: int | None
    hyperband: Hyperband | None
    name: str = ""
    description: str = ""
    program: str = ""
    command: tuple[str, ...] = ()
    project: str = ""
    entity: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def cap(self) -> int | None:
        """The maximum number of trials; None if unlimited. At most 2^53 for huge grids."""
        size = self.space.grid_size if self.method == "grid" else None
        ends = [end for end in (size, self.run_cap) if end is not None]
        return min(*ends, _MAX_INTEGER) if ends else None


def read_configuration(text: str) -> SweepConfiguration:
    """Parse the configuration in a YAML (or JSON) text. Raises `Rejected` with the problem.

    This may take half a second: on an event loop, call `prepare` first.
    """
    found = _known.get(text) or _learn(text)
    if isinstance(found, Rejected):
        raise Rejected(str(found), code=found.code, status=found.status, hint=found.hint)
    return found


def stored_configuration(text: str) -> SweepConfiguration:
    """The configuration of an existing sweep; empty, with the reason, if it is no longer valid."""
    try:
        return read_configuration(text)
    except Rejected as error:
        return SweepConfiguration("", Space(()), "", "", None, None, warnings=(str(error),))


async def prepare(texts: Iterable[str]) -> None:
    """Parse those not cached yet off the event loop."""
    for text in texts:
        if text not in _known:
            await asyncio.to_thread(_learn, text)


_known: OrderedDict[str, SweepConfiguration | Rejected] = OrderedDict()


def _learn(text: str) -> SweepConfiguration | Rejected:
    try:
        found: SweepConfiguration | Rejected = _read_text(text)
    except Rejected as error:
        found = error.with_traceback(None)
    _known[text] = found
    while len(_known) > _MAX_CACHED:
        _known.popitem(last=False)
    return found


def _read_text(text: str) -> SweepConfiguration:
    try:
        given = load_yaml(text)
    except ValueError as error:
        bad_sweep(f"invalid YAML: {error}")
    if not isinstance(given, dict):
        bad_sweep("the configuration must be an object with `method` and `parameters`")
    _check_nodes(given)
    return _read({str(key): value for key, value in given.items()})


def _check_nodes(given: Any) -> None:
    """Refuse values that JSON cannot represent, and excessive expansion of YAML aliases."""
    left, seen = [given], 0
    while left:
        node = left.pop()
        seen += 1
        if seen > _MAX_NODES:
            bad_sweep(f"the configuration has more than {_MAX_NODES:,} parts")
        if isinstance(node, dict):
            left += node.values()
        elif isinstance(node, list):
            left += node
        elif node is not None and not isinstance(node, str | int | float):
            bad_sweep(f"{node!r} is a {type(node).__name__}: quote it to make it text")


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
        warnings=tuple(f"{key!r} has no effect in Penstock" for key in given if key not in _KNOWN),
    )


def _metric(given: Any) -> tuple[str, str]:
    if given is None:
        return "", ""
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str):
        bad_sweep("`metric` must be an object with the `name` of a logged metric")
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
        bad_sweep(f"early_terminate: unknown key {unknown[0]!r}")
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
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MAX_INTEGER:
        bad_sweep(f"{name} must be a whole number of at least {least}, not {value!r}")
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
