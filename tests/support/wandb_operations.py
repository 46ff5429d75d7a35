"""Which GraphQL operations a version of the official client can send, read from its files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from graphql import FieldNode, GraphQLError, OperationDefinitionNode, OperationType, parse

from penstock_compat.wandb.schema import Mutation, Query

__all__ = ["operations_of", "unknown_operations"]

_BEGINS = re.compile(r"\b(?:query|mutation)\b[^{}]*\{")
_IN_BINARY = re.compile(rb"\n(?:query|mutation) \w+[^{}\x00]{0,4000}\{")
_LONGEST = 20_000


def operations_of(package: Path) -> dict[str, set[tuple[str, str]]]:
    """By the operation's name its root fields, as (query or mutation, field). Documents that are put
    together from pieces at run time are left out where a piece alone is no document."""
    found: dict[str, set[tuple[str, str]]] = {}
    for text in _documents(package):
        try:
            definitions = parse(text, no_location=True).definitions
        except (GraphQLError, RecursionError):
            continue
        for each in definitions:
            if isinstance(each, OperationDefinitionNode) and each.name:
                kind = "mutation" if each.operation is OperationType.MUTATION else "query"
                fields = each.selection_set.selections
                roots = {
                    (kind, field.name.value) for field in fields if isinstance(field, FieldNode)
                }
                found.setdefault(each.name.value, set()).update(roots)
    return found


def unknown_operations(operations: Mapping[str, set[tuple[str, str]]]) -> frozenset[str]:
    """Those of which this server does not know a root field."""
    return frozenset(
        name
        for name, roots in operations.items()
        if not all(_knows(kind, field) for kind, field in roots)
    )


def _knows(kind: str, field: str) -> bool:
    root = Mutation if kind == "mutation" else Query
    return root.has(field)


def _documents(package: Path) -> Iterator[str]:
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                # Those that are formatted have their braces twice.
                text = node.value.replace("{{", "{").replace("}}", "}")
                if _BEGINS.search(text):
                    yield text
    for path in sorted(package.glob("bin/*")):
        content = path.read_bytes()
        for match in _IN_BINARY.finditer(content):
            yield _balanced(content[match.start() : match.start() + _LONGEST])


def _balanced(content: bytes) -> str:
    """The text up to the brace that closes the first one."""
    depth = 0
    for at, byte in enumerate(content):
        depth += (byte == ord("{")) - (byte == ord("}"))
        if byte == ord("}") and depth == 0:
            return content[: at + 1].decode(errors="replace")
    return ""
