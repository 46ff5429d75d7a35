"""The `define_metric` rules in a run's info, as far as they concern its summary. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["HiddenKeys", "hidden_keys"]

_RULES = "define_metric"
_NONE = "none"


@dataclass(frozen=True, slots=True)
class HiddenKeys:
    """The keys that a run's rules keep out of its summary (`summary="none"`): `names` are hidden, `others`
    are not, regardless of prefixes; for all else the longest matching prefix decides."""

    names: frozenset[str]
    others: frozenset[str]
    prefixes: tuple[tuple[str, bool], ...]

    def __contains__(self, key: str) -> bool:
        if key in self.names or key in self.others:
            return key in self.names
        return next((hides for prefix, hides in self.prefixes if key.startswith(prefix)), False)

    def left_out(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """The summary without them."""
        return {key: value for key, value in summary.items() if key not in self}


def hidden_keys(info: Mapping[str, Any]) -> HiddenKeys | None:
    """What a run's rules hide; None, as for nearly all runs, if nothing."""
    rules = info.get(_RULES)
    if not isinstance(rules, Mapping):
        return None
    hides = {_unescaped(name): _hides(rule) for name, rule in rules.items()}
    if not any(hides.values()):
        return None
    globs = {name[:-1]: hidden for name, hidden in hides.items() if name.endswith("*")}
    return HiddenKeys(
        frozenset(name for name, hidden in hides.items() if hidden),
        frozenset(name for name, hidden in hides.items() if not hidden),
        tuple(sorted(globs.items(), key=lambda each: -len(each[0]))),
    )


def _hides(rule: Any) -> bool:
    kinds = rule.get("summary") if isinstance(rule, Mapping) else None
    return isinstance(kinds, str) and _NONE in [kind.strip() for kind in kinds.split(",")]


def _unescaped(name: str) -> str:
    """wandb writes a dot that is not a path separator as `\\.`; here both forms are treated alike."""
    return name.replace("\\.", ".")
