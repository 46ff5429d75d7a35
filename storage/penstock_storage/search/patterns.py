"""Untrusted regular expressions, matched in linear time.

Python's own `re` can take exponential time, which would hang the server. The Rust engine in pydantic
cannot: it supports neither look-around nor backreferences, refuses patterns that need much memory,
and its worst case is (length of pattern) x (length of text).
"""

from __future__ import annotations

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["MAX_PATTERN_CHARS", "Pattern"]

MAX_PATTERN_CHARS = 500


class Pattern:
    """A compiled pattern. Raises `ValueError` with the reason if it is invalid."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_PATTERN_CHARS:
            raise ValueError(f"has more than {MAX_PATTERN_CHARS} characters")
        schema = core_schema.str_schema(pattern=text, regex_engine="rust-regex", strict=True)
        try:
            self.found_in = SchemaValidator(schema).isinstance_python
        except (SchemaError, UnicodeEncodeError) as error:
            reason = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
            raise ValueError(f"is not a valid pattern: {reason}") from None
