"""Nodes: the objects whose fields a GraphQL document selects.

There is no schema. The client never asks for one, and its documents contain arguments that a server
need not know; so a node answers what it can, unknown arguments are dropped, and undefined fields are
null and counted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected

__all__ = ["MISSING", "Node", "NodeField", "camel", "connection", "field", "snake"]

Method = TypeVar("Method", bound=Callable[..., Any])

_MARK = "__graphql_field__"


class _Missing:
    """The value of a missing field; not None, which is a valid answer."""


MISSING = _Missing()


class NodeField(NamedTuple):
    """A method of a node, its arguments (snake case), and the required ones."""

    method: Callable[..., Any]
    arguments: frozenset[str]
    required: frozenset[str]


def field(method: Method) -> Method:
    """Makes a method a field: `history_keys` answers `historyKeys`."""
    setattr(method, _MARK, True)
    return method


def camel(name: str) -> str:
    """`history_keys` in GraphQL's spelling."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def snake(name: str) -> str:
    """`clientID` and `pageSize` in Python's spelling: `client_id`, `page_size`."""
    out: list[str] = []
    for at, letter in enumerate(name):
        if letter.isupper():
            starts = at > 0 and (
                not name[at - 1].isupper() or (at + 1 < len(name) and name[at + 1].islower())
            )
            out.append(f"_{letter.lower()}" if starts else letter.lower())
        else:
            out.append(letter)
    return "".join(out)


class Node:
    """An object with fields. Subclasses set `typename` and mark methods with `@field`."""

    typename: ClassVar[str] = ""
    _fields: ClassVar[dict[str, NodeField]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        found: dict[str, NodeField] = {}
        for base in reversed(cls.__mro__):
            for name, method in vars(base).items():
                if getattr(method, _MARK, False):
                    found[snake(camel(name))] = _field_of(method)
        cls._fields = found

    @classmethod
    def has(cls, name: str) -> bool:
        """Whether there is a field of this GraphQL name."""
        return name == "__typename" or snake(name) in cls._fields

    def selected(self, fields: Mapping[str, Mapping[str, Any]]) -> None:
        """Receives in advance the arguments of the fields selected together, by GraphQL name, for
        fields that depend on another one."""

    async def get(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """The value of a field, `MISSING` if it is undefined. Raises `Rejected` if a required argument
        is missing."""
        if name == "__typename":
            return self.typename
        found = self._fields.get(snake(name))
        if found is None:
            return MISSING
        given = {snake(key): value for key, value in arguments.items()}
        taken = {key: value for key, value in given.items() if key in found.arguments}
        if missing := found.required - taken.keys():
            raise Rejected(
                f"{name} needs the argument {camel(min(missing))!r}", code=ErrorCode.BAD_GRAPHQL
            )
        value = found.method(self, **taken)
        return await value if inspect.isawaitable(value) else value


def _field_of(method: Callable[..., Any]) -> NodeField:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    required = [each.name for each in parameters if each.default is each.empty]
    return NodeField(method, frozenset(each.name for each in parameters), frozenset(required))


def connection(
    typename: str,
    nodes: Sequence[Any],
    cursors: Sequence[str] | None = None,
    *,
    has_next: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A page of nodes as a GraphQL connection. `cursors`: one per node (default: positions)."""
    if cursors is None:
        cursors = [str(at) for at in range(len(nodes))]
    return {
        "__typename": f"{typename}Connection",
        "edges": [
            {"__typename": f"{typename}Edge", "node": node, "cursor": cursor}
            for node, cursor in zip(nodes, cursors, strict=True)
        ],
        "pageInfo": {
            "__typename": "PageInfo",
            "endCursor": cursors[-1] if cursors else None,
            "hasNextPage": has_next,
        },
        **more,
    }
