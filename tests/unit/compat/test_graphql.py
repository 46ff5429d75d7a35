"""The walker: what GraphQL documents of the client need, over nodes."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import Rejected
from penstock_compat.wandb.graphql.documents import find_operation
from penstock_compat.wandb.graphql.execution import Execution
from penstock_compat.wandb.graphql.nodes import Node, camel, connection, field, snake


class Leaf(Node):
    typename = "Leaf"

    def __init__(self, number: int) -> None:
        self._number = number

    @field
    def page_size(self) -> int:
        return self._number

    @field
    async def added(self, to_number: int = 0, client_id: str = "") -> str:
        return f"{self._number + to_number}{client_id}"


class Root(Node):
    typename = "Query"

    @field
    def leaf(self, number: int = 1) -> Leaf:
        return Leaf(number)

    @field
    def named(self, input: dict[str, Any]) -> list[str]:
        return [each["name"] for each in input["items"]]

    @field
    def leaves(self, first: int = 2) -> dict[str, Any]:
        return connection("Leaf", [Leaf(n) for n in range(first)], has_next=True)

    @field
    def nothing(self) -> None:
        return None

    @field
    def echo(self, value: Any = "default") -> Any:
        return {"value": value}


async def run(text: str, name: str = "", **variables: Any) -> tuple[dict[str, Any], list[str]]:
    missing: list[str] = []
    operation = find_operation(text, name, variables)
    return await Execution(operation, missing.append).run(Root()), missing


async def test_aliases_arguments_and_typenames() -> None:
    data, _ = await run(
        "query($n: Int!) { a: leaf(number: $n) { size: pageSize __typename } }", n=5
    )
    assert data == {"a": {"size": 5, "__typename": "Leaf"}}


async def test_argument_names_are_found_and_unknown_ones_dropped() -> None:
    data, _ = await run('{ leaf { added(toNumber: 2, clientID: "x", desc: "unknown") } }')
    assert data == {"leaf": {"added": "3x"}}


async def test_fragments_merge_and_connections_are_walked() -> None:
    text = """
        #graphql
        query Q { leaves(first: 2) { ...Edges edges { node { added } } pageInfo { hasNextPage } } }
        fragment Edges on LeafConnection { edges { cursor node { ... on Leaf { pageSize } } } }
    """
    data, _ = await run(text, "Q")
    edges = data["leaves"]["edges"]
    assert [edge["node"] for edge in edges] == [
        {"pageSize": n, "added": f"{n}"} for n in range(2)
    ]  # fmt: skip
    assert [edge["cursor"] for edge in edges] == ["0", "1"]
    assert data["leaves"]["pageInfo"] == {"hasNextPage": True}


async def test_include_and_skip() -> None:
    text = "query($yes: Boolean!) { leaf { pageSize @include(if: $yes) a: added @skip(if: $yes) } }"
    assert (await run(text, yes=True))[0] == {"leaf": {"pageSize": 1}}
    assert (await run(text, yes=False))[0] == {"leaf": {"a": "1"}}


async def test_values_in_arguments() -> None:
    text = '{ echo(value: {list: [1, 2.5, "x", true, null], kind: FULL}) { value } }'
    data, _ = await run(text)
    value = data["echo"]["value"]
    assert value == {"list": [1, 2.5, "x", True, None], "kind": "FULL"}
    default = "query($v: Int = 7) { echo(value: $v) { value } }"
    assert (await run(default))[0] == {"echo": {"value": 7}}
    absent = "query($v: Int) { echo(value: $v) { value } }"
    assert (await run(absent))[0] == {"echo": {"value": "default"}}


async def test_a_variable_that_was_not_sent_leaves_its_field_out() -> None:
    text = """query Q($a: Int, $b: String = "own", $d: Int) {
        object: echo(value: {a: $a, b: $b, deep: {a: $a, d: $d}, list: [$a, {x: $a, y: 1}, $d]}) { value }
        argument: echo(value: $a) { value }
        list: echo(value: [$a]) { value }
    }"""
    data, _ = await run(text, d=None)
    assert {name: each["value"] for name, each in data.items()} == {
        "object": {"b": "own", "deep": {"d": None}, "list": [None, {"y": 1}, None]},
        "argument": "default",
        "list": [None],
    }


@pytest.mark.parametrize(
    "value", ['"x"', "[]", "{}", "{items: [{}]}", "{items: 7}", "{items: [null]}"]
)
async def test_arguments_of_another_shape_are_refused(value: str) -> None:
    text = f"{{ named(input: {value}) }}"
    with pytest.raises(Rejected, match="named: its arguments are not as expected"):
        await run(text)
    assert (await run('{ named(input: {items: [{name: "a"}]}) }'))[0] == {"named": ["a"]}


async def test_null_objects_and_unknown_fields() -> None:
    data, missing = await run("{ nothing { anything } leaf { unheard } }")
    assert data == {"nothing": None, "leaf": {"unheard": None}}
    assert missing == ["Leaf.unheard"]


async def test_an_unknown_root_field_is_named() -> None:
    with pytest.raises(Rejected, match="'flyToTheMoon'") as raised:
        await run("query Fly { flyToTheMoon { speed } }")
    assert raised.value.code == "unknown_operation"


@pytest.mark.parametrize(
    "text",
    ["{", "", "query A { a } query B { b }", "{ leaf { ...F } } fragment F on L { ...F }",
     "{ leaf { ...G } }", "{" * 5_000],
)  # fmt: skip
async def test_what_is_no_operation(text: str) -> None:
    with pytest.raises(Rejected):
        await run(text)


def test_names() -> None:
    assert camel("history_keys") == "historyKeys"
    for name, ours in (("clientID", "client_id"), ("pageSize", "page_size"), ("runID", "run_id")):
        assert snake(name) == ours
    assert snake("xxhashDigestsEnabled") == "xxhash_digests_enabled"


_DOUBLING = "".join(
    f"fragment F{n} on Query {{ a{n}: leaf {{ ...F{n + 1} }} b{n}: leaf {{ ...F{n + 1} }} }} "
    for n in range(35)
)
_CHAIN = "".join(f"fragment F{n} on Query {{ ...F{n + 1} }} " for n in range(1_500))
_WIDE = " ".join(f"...F{n}" for n in range(60))


@pytest.mark.parametrize(
    "text",
    [
        f"{{ ...F0 }} {_DOUBLING} fragment F35 on Query {{ nothing }}",
        f"{{ ...F0 }} {_CHAIN} fragment F1500 on Query {{ nothing }}",
        "{ leaf { ...F } } fragment F on Leaf { leaf { ...F } }",
        "{" + " ".join(f"a{n}: nothing" for n in range(6_000)) + "}",
        "{"
        + " ".join(f"a{n}: nothing" for n in range(3_000))
        + "}" * 0
        + " ...F ...F } fragment F on Query {"
        + " ".join(f"b{n}: nothing" for n in range(1_500))
        + "}",
        "{" + "leaf {" * 50 + "pageSize" + "}" * 51,
        "{" + " " * 200_000 + "nothing }",
        "{" + "leaf {" * 9_000,
    ],
    ids=["doubling", "chain", "itself", "aliases", "fragment twice", "deep", "spaces", "very deep"],
)
async def test_what_would_cost_too_much_is_refused_before_it_is_answered(text: str) -> None:
    with pytest.raises(Rejected) as refused:
        await run(text)
    assert refused.value.code == "bad_graphql"
