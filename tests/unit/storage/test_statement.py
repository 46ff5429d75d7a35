"""Statements are told apart by their beginning and end, and rows never by accident."""

from __future__ import annotations

import pytest

from penstock_storage.clickhouse.statement import (
    State,
    insert_head,
    select_format,
    state_and_params,
)
from penstock_storage.clickhouse.store_errors import EngineError


@pytest.mark.parametrize(
    ("text", "sql", "rows"),
    [
        ("INSERT INTO t FORMAT Native", "INSERT INTO t", ""),
        ("INSERT INTO t FORMAT Native\n\x01\n", "INSERT INTO t", "\x01\n"),
        ("insert into p.t (a, b) format Native\r\n", "insert into p.t (a, b)", ""),
        ('\n INSERT INTO `p`."t" (a) FORMAT Native ;\nx', 'INSERT INTO `p`."t" (a)', "x"),
        (
            "INSERT INTO TABLE t SETTINGS async_insert = 0 FORMAT Native\nx",
            "INSERT INTO TABLE t SETTINGS async_insert = 0",
            "x",
        ),
        ("INSERT INTO t FORMAT Native\n\nFORMAT CSV\n", "INSERT INTO t", "\nFORMAT CSV\n"),
    ],
)
def test_the_head_of_an_insert_ends_at_its_format(text: str, sql: str, rows: str) -> None:
    head = insert_head(text)
    assert head is not None
    assert (head.sql, head.format, text[head.end :]) == (sql, "Native", rows)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO t VALUES (1, ' FORMAT Native\n')",
        "INSERT INTO t (a) SELECT 1 FORMAT Native",
        "INSERT INTO t (a, b",
        "INSERT INTO t FORMAT Nat ive",
        "SELECT 1 FORMAT Native",
        "",
    ],
)
def test_other_statements_have_no_rows_behind_them(text: str) -> None:
    assert insert_head(text) is None


@pytest.mark.parametrize(
    ("sql", "output_format", "is_streamed"),
    [
        ("SELECT 1", "Native", True),
        (" -- why\n /* a */ (select 1)", "Native", True),
        ("WITH 1 AS x SELECT x FORMAT JSONEachRow;", "JSONEachRow", True),
        ("SELECT 1 FORMAT JSON", "JSON", False),
        ("SELECT ' FORMAT JSON'", "Native", True),
        ("SHOW TABLES", "Native", False),
        ("INSERT INTO t SELECT 1", "Native", False),
        ("CREATE TABLE t (a UInt8) ENGINE = Memory", "Native", False),
    ],
)
def test_only_selects_in_formats_without_a_frame_are_streamed(
    sql: str, output_format: str, is_streamed: bool
) -> None:
    statement = select_format(sql, "Native")
    assert (statement.format, statement.is_streamed) == (output_format, is_streamed)
    assert statement.sql == sql


@pytest.mark.parametrize("sql", ["", " \n", "-- only this", ";", "\0x", '\x04"M\x18INSERT', "é"])
def test_what_is_no_statement_is_refused(sql: str) -> None:
    with pytest.raises(EngineError, match="62"):
        select_format(sql, "Native")


def test_a_url_carries_settings_and_parameters() -> None:
    query = {
        "query": "SELECT 1", "database": "d", "max_threads": "1", "param_x": "1", "user": "u",
        "password": "p", "default_format": "Native", "client_protocol_version": "54405",
    }  # fmt: skip
    assert state_and_params(query) == (State("d", {"max_threads": "1"}), {"x": "1"})
    assert State("d`x", {"a": "'\\"}).statements() == ["SET a = '\\'\\\\'", "USE `dx`"]
