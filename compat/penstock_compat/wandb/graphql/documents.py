"""Documents: parses a query's text once and selects the operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    ValueNode,
    VariableNode,
    parse,
    value_from_ast_untyped,
)

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["GraphqlOperation", "find_operation", "value_of"]

_MAX_TOKENS = 10_000
_MAX_DOCUMENT_CHARS = 100_000
_MAX_CACHED = 512
_MAX_CACHED_CHARS = 50_000


@dataclass(frozen=True, slots=True)
class GraphqlOperation:
    """One operation with its available fragments and its variables."""

    definition: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.definition.name.value if self.definition.name else ""

    @property
    def is_mutation(self) -> bool:
        return self.definition.operation is OperationType.MUTATION


def find_operation(text: str, name: str, variables: Mapping[str, Any]) -> GraphqlOperation:
    """The operation with this name in a document, or its only one. Raises `Rejected`."""
    if len(text) > _MAX_DOCUMENT_CHARS:
        raise Rejected(
            f"the document is longer than {_MAX_DOCUMENT_CHARS} characters",
            code=ErrorCode.BAD_GRAPHQL,
        )
    try:
        document = _parse_known(text) if len(text) <= _MAX_CACHED_CHARS else _parse(text)
    except (GraphQLError, RecursionError) as error:
        raise Rejected(f"this is not valid GraphQL: {error}", code=ErrorCode.BAD_GRAPHQL) from None
    operations: list[OperationDefinitionNode] = []
    fragments: dict[str, FragmentDefinitionNode] = {}
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            operations.append(definition)
        elif isinstance(definition, FragmentDefinitionNode):
            fragments[definition.name.value] = definition
    meant = [each for each in operations if each.name and each.name.value == name]
    if not meant and len(operations) == 1:
        meant = operations
    if len(meant) != 1:
        raise Rejected(f"the document has no single operation {name!r}", code=ErrorCode.BAD_GRAPHQL)
    given = {
        each.variable.name.value: value_of(each.default_value, {})
        for each in meant[0].variable_definitions or ()
        if each.default_value is not None
    }
    return GraphqlOperation(meant[0], fragments, {**given, **variables})


def value_of(node: ValueNode, variables: Mapping[str, Any]) -> Any:
    """A literal or variable in an argument as a Python value.

    A variable that was not sent is None as an argument and in a list; in an input object its field is
    left out, as in the GraphQL specification.
    """
    value = _value_of(node, variables)
    return None if value is Undefined else value


def _value_of(node: ValueNode, variables: Mapping[str, Any]) -> Any:
    match node:
        case VariableNode():
            return variables.get(node.name.value, Undefined)
        case ObjectValueNode():
            fields = ((each.name.value, _value_of(each.value, variables)) for each in node.fields)
            return {name: value for name, value in fields if value is not Undefined}
        case ListValueNode():
            return [value_of(each, variables) for each in node.values]
        case _:
            return value_from_ast_untyped(node)


def _parse(text: str) -> DocumentNode:
    return parse(text, no_location=True, max_tokens=_MAX_TOKENS)


_parse_known = lru_cache(_MAX_CACHED)(_parse)
