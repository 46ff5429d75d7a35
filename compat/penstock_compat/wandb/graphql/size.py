"""Measures an operation before executing it.

A few hundred bytes of fragments, each spreading the next one twice, would select an unbounded number
of fields. Each fragment is measured once, however often it is spread.
"""

from __future__ import annotations

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionSetNode,
)

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.graphql.documents import GraphqlOperation

__all__ = ["check_size"]

_MAX_DEPTH = 40
_MAX_FIELDS = 5_000


def check_size(operation: GraphqlOperation) -> None:
    """Raises `Rejected` if an operation, with its fragments expanded, selects too many fields or nests
    them too deeply."""
    count, depth = _Count(operation).of(operation.definition.selection_set)
    if count > _MAX_FIELDS:
        raise _bad("the query selects too many fields")
    if depth > _MAX_DEPTH:
        raise _bad(f"the query is nested deeper than {_MAX_DEPTH} levels")


class _Count:
    """Counts fields and levels, measuring each fragment once."""

    def __init__(self, operation: GraphqlOperation) -> None:
        self._fragments = operation.fragments
        self._known: dict[str, tuple[int, int]] = {}
        self._inside: set[str] = set()

    def of(self, selections: SelectionSetNode | None) -> tuple[int, int]:
        """(fields, levels) of these selections."""
        fields = depth = 0
        for each in selections.selections if selections else ():
            if isinstance(each, FieldNode):
                inner, levels = self.of(each.selection_set)
                inner, levels = inner + 1, levels + 1
            elif isinstance(each, InlineFragmentNode):
                inner, levels = self.of(each.selection_set)
            elif isinstance(each, FragmentSpreadNode):
                inner, levels = self._fragment(each.name.value)
            else:
                continue
            fields, depth = fields + inner, max(depth, levels)
        return fields, depth

    def _fragment(self, name: str) -> tuple[int, int]:
        if name not in self._known:
            found: FragmentDefinitionNode | None = self._fragments.get(name)
            if found is None or name in self._inside or len(self._inside) > _MAX_DEPTH:
                raise _bad(
                    f"the fragment {name!r} is missing, spreads itself or is nested too deeply"
                )
            self._inside.add(name)
            self._known[name] = self.of(found.selection_set)
            self._inside.discard(name)
        return self._known[name]


def _bad(message: str) -> Rejected:
    return Rejected(message, code=ErrorCode.BAD_GRAPHQL)
