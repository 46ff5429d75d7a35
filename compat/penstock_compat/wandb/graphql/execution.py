"""Executes an operation's selections over nodes, field by field."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
)

from penstock.error_codes import ErrorCode
from penstock.errors import PenstockError, Rejected
from penstock_compat.wandb.graphql.documents import GraphqlOperation, value_of
from penstock_compat.wandb.graphql.nodes import MISSING, Node
from penstock_compat.wandb.graphql.size import check_size

__all__ = ["Execution"]

_LOG = logging.getLogger(__name__)
_OF_ARGUMENTS = (AttributeError, IndexError, KeyError, TypeError, ValueError)


class Execution:
    """The execution of one operation. `missing` is called for undefined fields."""

    def __init__(self, operation: GraphqlOperation, missing: Callable[[str], None]) -> None:
        self._operation = operation
        self._missing = missing

    async def run(self, root: Node) -> dict[str, Any]:
        """The operation's `data`.

        Raises `Rejected` for a root field that does not exist, and whatever a node raises.
        """
        selections = self._operation.definition.selection_set
        check_size(self._operation)
        for field in self._fields(selections):
            name = field[0].name.value
            if not root.has(name):
                kind = "mutation" if self._operation.is_mutation else "query"
                raise Rejected(
                    f"Penstock does not know the {kind} {name!r} (operation {self._operation.name!r})",
                    code=ErrorCode.UNKNOWN_OPERATION,
                )
        return await self._select(root, [selections])

    async def _value(self, value: Any, sets: list[SelectionSetNode]) -> Any:
        if value is None or not sets:
            return value
        if isinstance(value, list | tuple):
            return [await self._value(each, sets) for each in value]
        if isinstance(value, Node | Mapping):
            return await self._select(value, sets)
        return value

    async def _select(
        self, node: Node | Mapping[str, Any], sets: list[SelectionSetNode]
    ) -> dict[str, Any]:
        chosen: dict[str, list[FieldNode]] = {}
        for selections in sets:
            for key, fields in self._grouped(selections).items():
                chosen.setdefault(key, []).extend(fields)
        if isinstance(node, Node):
            firsts = [fields[0] for fields in chosen.values()]
            node.selected(
                {each.name.value: self._arguments(each) for each in firsts if each.arguments}
            )
        answer: dict[str, Any] = {}
        for key, fields in chosen.items():
            value = await self._field(node, fields[0])
            inner = [each.selection_set for each in fields if each.selection_set]
            answer[key] = await self._value(value, inner)
        return answer

    async def _field(self, node: Node | Mapping[str, Any], field: FieldNode) -> Any:
        name = field.name.value
        if isinstance(node, Node):
            value = await self._answer(node, name, self._arguments(field))
        else:
            value = node.get(name, MISSING)
        if value is MISSING:
            kind = node.typename if isinstance(node, Node) else node.get("__typename", "")
            self._missing(f"{kind}.{name}")
            return None
        return value

    def _arguments(self, field: FieldNode) -> dict[str, Any]:
        """The given arguments; null ones and variables that were not sent do not count."""
        variables = self._operation.variables
        arguments = {
            each.name.value: value_of(each.value, variables) for each in field.arguments or ()
        }
        return {key: value for key, value in arguments.items() if value is not None}

    async def _answer(self, node: Node, name: str, given: dict[str, Any]) -> Any:
        """A node's field; null, and logged, if stored data makes it fail, so that the rest of the answer
        does not fail with it. A root field that fails because of its arguments is refused, since the
        client would retry after any other answer."""
        is_root = node.typename in ("Query", "Mutation")
        try:
            return await node.get(name, given)
        except PenstockError:
            raise
        except Exception as error:
            if is_root and not isinstance(error, _OF_ARGUMENTS):
                raise
            _LOG.exception("graphql_field_failed field=%s.%s", node.typename, name)
            if not is_root:
                return None
            raise Rejected(
                f"{name}: its arguments are not as expected",
                code=ErrorCode.BAD_GRAPHQL,
                hint="The gateway's log shows where they differ.",
            ) from error

    def _grouped(self, selections: SelectionSetNode) -> dict[str, list[FieldNode]]:
        grouped: dict[str, list[FieldNode]] = {}
        for field, key in self._fields(selections):
            grouped.setdefault(key, []).append(field)
        return grouped

    def _fields(self, selections: SelectionSetNode) -> Iterator[tuple[FieldNode, str]]:
        """The selected fields with their response keys; fragments are expanded, skipped fields left
        out."""
        open_sets = [selections]
        while open_sets:
            here = open_sets.pop(0)
            for selection in here.selections:
                if not self._is_included(selection):
                    continue
                if isinstance(selection, FieldNode):
                    name = selection.alias or selection.name
                    yield selection, name.value
                elif isinstance(selection, InlineFragmentNode):
                    open_sets.append(selection.selection_set)
                elif isinstance(selection, FragmentSpreadNode):
                    fragment = self._operation.fragments[selection.name.value]
                    open_sets.append(fragment.selection_set)

    def _is_included(self, selection: SelectionNode) -> bool:
        for directive in getattr(selection, "directives", None) or ():
            name = directive.name.value
            if name not in ("include", "skip"):
                continue
            values = [
                value_of(each.value, self._operation.variables)
                for each in directive.arguments or ()
                if each.name.value == "if"
            ]
            if bool(values and values[0]) is (name == "skip"):
                return False
        return True
