"""Parses a manifest's JSON incrementally: memory is bounded by the longest entry, not by the list.

A single `json.loads` of 100,000 files would hold the interpreter, and with it every request, for half
a minute; entry by entry, other threads get their turn.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.values import integer

__all__ = ["ManifestText", "bad_manifest"]

_CHUNK_BYTES = 1 << 20
_MAX_ENTRY_CHARS = 64 * 1024
_MAX_FIELD_CHARS = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder(parse_int=integer).raw_decode


def bad_manifest(what: str) -> NoReturn:
    raise Rejected(f"the artifact's manifest {what}", code=ErrorCode.BAD_MANIFEST)


class ManifestText:
    """The text of one manifest, to be read once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._is_over = False
        self.fields: dict[str, Any] = {}
        """Everything besides `contents`, after all entries have been read."""

    def entries(self) -> Iterator[tuple[str, Any, str]]:
        """(path, entry, the entry's text) of each file. Raises `Rejected`."""
        has_contents = False
        for name in self._names("{"):
            if name == "contents":
                has_contents = True
                yield from self._contents()
            else:
                self.fields[name] = self._value(_MAX_FIELD_CHARS)[0]
        if self._peek():
            bad_manifest("is not valid JSON")
        if self.fields.get("version") != 1:
            bad_manifest("is not of version 1")
        if not has_contents:
            bad_manifest("has no contents")

    def _contents(self) -> Iterator[tuple[str, Any, str]]:
        if self._peek() != "{":
            bad_manifest("has no contents")
        for path in self._names("{"):
            entry, text = self._value(_MAX_ENTRY_CHARS)
            yield path, entry, text

    def _names(self, opening: str) -> Iterator[str]:
        """The names in an object; the caller reads the value that follows each."""
        self._take(opening)
        if self._peek() == "}":
            self._take("}")
            return
        while True:
            if self._peek() != '"':
                bad_manifest("is not valid JSON")
            name, _ = self._value(_MAX_ENTRY_CHARS)
            self._take(":")
            yield name
            following = self._peek()
            self._take("," if following == "," else "}")
            if following != ",":
                return

    def _value(self, longest: int) -> tuple[Any, str]:
        """The next value and its text."""
        self._peek()
        while (found := self._decoded(longest)) is None:
            self._read()
        value, end = found
        if end - self._at > longest:
            bad_manifest(f"has an entry longer than {longest} bytes")
        text = self._text[self._at : end]
        self._at = end
        return value, text

    def _decoded(self, longest: int) -> tuple[Any, int] | None:
        """The value here and its end; None if more text is needed."""
        try:
            value, end = _decode(self._text, self._at)
        except (ValueError, RecursionError):
            if self._is_over or len(self._text) - self._at > longest:
                bad_manifest(f"is not valid JSON, or has an entry longer than {longest} bytes")
            return None
        return (value, end) if end < len(self._text) or self._is_over else None

    def _take(self, character: str) -> None:
        if self._peek() != character:
            bad_manifest("is not valid JSON")
        self._at += 1

    def _peek(self) -> str:
        """The next non-space character; '' at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or self._is_over:
                return self._text[self._at : self._at + 1]
            self._read()

    def _read(self) -> None:
        chunk = self._file.read(_CHUNK_BYTES)
        self._is_over = not chunk
        try:
            decoded = self._utf8.decode(chunk, final=self._is_over)
        except UnicodeDecodeError:
            bad_manifest("is not UTF-8")
        self._text = self._text[self._at :] + decoded
        self._at = 0
