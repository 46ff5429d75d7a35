"""Parses untrusted YAML with bounded cost: aliases and merges are counted at their expanded size while
the text is read, before anything is expanded.

libyaml splits the text into events; Python assembles them, which other threads can interrupt.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["YamlTooLarge", "load_yaml"]

_MAX_BYTES = 256 << 10
_MAX_PARTS = 100_000
_MAX_DEPTH = 100
_MAX_NUMBER_CHARS = 100
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class YamlTooLarge(ValueError):
    """The text expands to more than is allowed."""


# The C parser where available: the Python one takes a second for a long list.
if hasattr(yaml, "CSafeLoader"):
    from yaml.cyaml import CParser as _Parser
else:  # pragma: no cover

    class _Parser(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):  # type: ignore[misc, no-redef]
        def __init__(self, text: str) -> None:
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)


class _Loader(Composer, _Parser, SafeConstructor, Resolver):  # type: ignore[misc]
    """Loads YAML in which 1e-4 is a number, as users expect, and counts its nodes."""

    def __init__(self, text: str) -> None:
        _Parser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)
        self._parts = 0
        self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node. Raises `YamlTooLarge` before it costs more than its text."""
        is_alias = self.check_event(yaml.AliasEvent)
        before = self._parts
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise YamlTooLarge(f"it is nested deeper than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and node not in self._sizes:
            raise YamlTooLarge("an alias refers to a node that contains it")
        self._count(self._sizes[node] if is_alias else 1)
        if not is_alias and node is not None:
            self._sizes[node] = self._parts - before
            _check_number(node)
        return node

    def _count(self, parts: int) -> None:
        self._parts += parts
        if self._parts > _MAX_PARTS:
            raise YamlTooLarge(f"it has more than {_MAX_PARTS:,} parts")


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _check_number(node: yaml.Node) -> None:
    """Refuse long and base-60 numbers, whose parsing takes quadratic time."""
    if node.tag in _NUMBERS and len(node.value) > _MAX_NUMBER_CHARS:
        raise YamlTooLarge(
            f"a number has more than {_MAX_NUMBER_CHARS} digits: quote it to make it text"
        )


def load_yaml(text: str) -> Any:
    """Load a YAML (or JSON) text. Raises `Rejected` (413) and `ValueError`, including `YamlTooLarge`."""
    if len(text) > _MAX_BYTES:
        raise Rejected("the configuration is larger than 256 KiB", code=ErrorCode.TOO_LARGE)
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except (yaml.YAMLError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    finally:
        loader.dispose()
