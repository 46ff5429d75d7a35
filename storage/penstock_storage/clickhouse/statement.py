"""Parses a ClickHouse HTTP request: its statement, the format of the result, and the rows of an INSERT.

The only place where statements are distinguished by their text, in three cases: rows to insert follow;
the result is streamed block by block; anything else, whose result is taken whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock_storage.clickhouse.store_errors import EngineError

__all__ = ["InsertHead", "State", "Statement", "insert_head", "select_format", "state_and_params"]

# INSERT INTO table [(columns)] [SETTINGS …] FORMAT name, then the rows.
_INSERT = re.compile(
    r"\s*(INSERT\s+INTO\s+(?:TABLE\s+)?[\w.`\"]+\s*(?:\([^()]*\))?\s*(?:SETTINGS\s[^()]*?)?)"
    r"\s*\bFORMAT\s+(\w+)[ \t]*;?[ \t]*(?:\r?\n|$)",
    re.IGNORECASE,
)
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*([a-z]+)", re.DOTALL | re.IGNORECASE)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)

# Formats whose pieces can simply be concatenated.
_STREAMED = {
    "native", "rowbinary", "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv",
    "jsoneachrow", "jsoncompacteachrow", "lineasstring",
}  # fmt: skip

# Parameters of the request itself; every other one is a setting or a `param_…`.
_RESERVED = {
    "query", "database", "default_format", "user", "password", "query_id", "quota_key", "role",
    "session_id", "session_timeout", "session_check", "stacktrace", "wait_end_of_query",
    "buffer_size", "client_protocol_version", "compress", "decompress", "enable_http_compression",
    "http_zlib_compression_level", "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
}  # fmt: skip


@dataclass(frozen=True)
class State:
    """The settings that a session needs before a statement runs in it."""

    database: str = "default"
    settings: Mapping[str, str] = field(default_factory=dict)

    def statements(self) -> list[str]:
        told = []
        if self.settings:
            pairs = (f"{name} = {_quoted(value)}" for name, value in self.settings.items())
            told.append(f"SET {', '.join(pairs)}")
        if self.database != "default":
            told.append(f"USE `{self.database.replace('`', '')}`")
        return told


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class InsertHead:
    """`INSERT INTO t (a, b)` without its FORMAT, and where in the text the rows start."""

    sql: str
    format: str
    end: int


@dataclass(frozen=True)
class Statement:
    """A statement without rows after it."""

    sql: str
    format: str
    is_streamed: bool


def insert_head(text: str) -> InsertHead | None:
    """The head of an INSERT whose rows follow it, if `text` begins with a whole one."""
    found = _INSERT.match(text)
    return InsertHead(found[1].strip(), found[2], found.end()) if found else None


def select_format(sql: str, default_format: str) -> Statement:
    """How to run a statement, and the format of its result.

    Raises `EngineError` for an invalid one: chDB would treat text that does not begin with a word as an
    empty statement, and report success.
    """
    found = _FIRST_WORD.match(sql)
    if found is None:
        raise EngineError("Code: 62. DB::Exception: This is no statement. (SYNTAX_ERROR)")
    named = _FORMAT.search(sql)
    output_format = named[1] if named else default_format
    is_select = found[1].upper() in ("SELECT", "WITH")
    return Statement(sql, output_format, is_select and output_format.lower() in _STREAMED)


def state_and_params(query: Mapping[str, str]) -> tuple[State, dict[str, str]]:
    """The session state and the `{name:Type}` parameters in a request's URL."""
    settings = {
        name: value
        for name, value in query.items()
        if name not in _RESERVED and not name.startswith("param_")
    }
    params = {name[6:]: value for name, value in query.items() if name.startswith("param_")}
    return State(query.get("database") or "default", settings), params
