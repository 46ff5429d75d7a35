"""ClickHouse's errors: how they appear in HTTP replies, and after which a retry makes sense.

Shared by both sides, the client and Penstock's own store process.
"""

from __future__ import annotations

import re

from penstock.error_codes import ErrorCode
from penstock.errors import Broken, PenstockError, Transient

__all__ = [
    "TOO_MANY_QUERIES", "EngineError", "code_of", "error_in_reply", "error_in_stream", "http_status",
    "is_file_gone", "kind_of", "stream_error",
]  # fmt: skip

TOO_MANY_QUERIES = 202

_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")

_TRANSIENT = {
    159: "timeout",  # TIMEOUT_EXCEEDED
    202: "busy",  # TOO_MANY_SIMULTANEOUS_QUERIES
    203: "busy",  # NO_FREE_CONNECTION
    209: "network",  # SOCKET_TIMEOUT
    210: "network",  # NETWORK_ERROR
    225: "network",  # NO_ZOOKEEPER
    236: "shutting_down",  # ABORTED
    241: "out_of_memory",  # MEMORY_LIMIT_EXCEEDED
    242: "read_only",  # TABLE_IS_READ_ONLY: a replica that lost its keeper
    243: "out_of_space",  # NOT_ENOUGH_SPACE
    252: "too_many_parts",  # TOO_MANY_PARTS
    279: "network",  # ALL_CONNECTION_TRIES_FAILED
    285: "network",  # TOO_FEW_LIVE_REPLICAS
    286: "network",  # UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319: "network",  # UNKNOWN_STATUS_OF_INSERT
    394: "cancelled",  # QUERY_WAS_CANCELLED
    439: "busy",  # CANNOT_SCHEDULE_TASK
    735: "cancelled",  # QUERY_WAS_CANCELLED_BY_CLIENT
    745: "busy",  # SERVER_OVERLOADED
    999: "network",  # KEEPER_EXCEPTION
}


_DAMAGED = {
    32,  # ATTEMPT_TO_READ_AFTER_EOF
    33,  # CANNOT_READ_ALL_DATA
    40,  # CHECKSUM_DOESNT_MATCH
    107,  # FILE_DOESNT_EXIST
    226,  # NO_FILE_IN_DATA_PART
    228,  # BAD_SIZE_OF_FILE_IN_DATA_PART
    246,  # CORRUPTED_DATA
    271,  # CANNOT_DECOMPRESS
}
"""Errors that mean a damaged part, if they come from reading one: a worker removes unreadable parts, so
a retry may succeed."""

_IN_PART = "from part "
_MISSING_FILE = "filesystem error: in file_size: No such file"
"""The message if a part's files disappear while the engine runs."""

_DISK = (
    ("errno: 28", "out_of_space"), ("No space left on device", "out_of_space"),
    ("errno: 30", "read_only"), ("Read-only file system", "read_only"),
    ("errno: 13,", "read_only"), ("Permission denied", "read_only"),
    ("errno: 5,", "disk_failed"), ("Input/output error", "disk_failed"),
)  # fmt: skip
"""Errors of the disk come with many different codes."""


def kind_of(code: int) -> str:
    """The kind of error, for counting; `statement` if the statement itself is at fault."""
    return _TRANSIENT.get(code, "damaged" if code in _DAMAGED else "statement")


_STATUS = {
    36: 400, 53: 400, 62: 400,
    46: 404, 47: 404, 50: 404, 60: 404, 73: 404, 81: 404, 115: 404,
    48: 501, 159: 408, 202: 503, 236: 503, 439: 503,
    192: 403, 193: 403, 194: 401, 497: 403, 516: 403,
}  # fmt: skip


class EngineError(Exception):
    """ClickHouse refused or failed a statement; `code` is its error number."""

    def __init__(self, message: str, code: int | None = None) -> None:
        start = max(message.find("Code: "), 0)
        super().__init__(message[start:])
        self.code = code_of(message) if code is None else code


def code_of(message: str) -> int:
    """The number in `Code: N. DB::Exception: …`, or 1002 (UNKNOWN_EXCEPTION)."""
    found = _CODE.search(message)
    return int(found[1]) if found else 1002


def is_file_gone(message: str) -> bool:
    """Whether a statement failed because files of a part were removed while the engine runs."""
    return _MISSING_FILE in message


def http_status(code: int) -> int:
    """The HTTP status that ClickHouse sends with an error."""
    return _STATUS.get(code, 500)


def error_in_reply(status: int, code: str | None, body: str) -> Broken | Transient:
    """The error of a reply with a status other than 200."""
    message = body.strip()[:4_000] or f"the store answered {status}"
    if code is None and not _CODE.search(message):
        # Not from ClickHouse: a proxy in between, or a store that is starting or stopping.
        if status in (408, 425, 429, 502, 503, 504):
            return Transient(message, code=ErrorCode.STORE_UNREACHABLE)
        return Broken(f"the store answered {status}: {message}")
    return _sorted(int(code) if code and code.isdecimal() else code_of(message), message)


def error_in_stream(tail: bytes, tag: str) -> PenstockError | None:
    """The error that was written after the rows of a result, if there is one in its `tail`."""
    text = tail.decode("utf-8", "replace")
    if tag:
        start = text.rfind(f"__exception__\r\n{tag}\r\n")
        if start < 0:
            return None
        text = text[start:]
    found = list(_CODE.finditer(text))
    if not found:
        return None
    message = re.split(r"\r?\n\d* ?\w*\r\n__exception__", text[found[-1].start() :])[0]
    return _sorted(int(found[-1][1]), message.strip()[:4_000])


def stream_error(message: str, tag: str) -> bytes:
    """The text that ClickHouse appends to a result that fails half-way."""
    text = message.rstrip("\n") + "\n"
    return (
        f"\r\n__exception__\r\n{tag}\r\n{text}{len(text.encode())} {tag}\r\n__exception__\r\n"
    ).encode()


def _sorted(code: int, message: str) -> Broken | Transient:
    reason = _TRANSIENT.get(code)
    if reason is None:
        reason = next((kind for text, kind in _DISK if text in message), None)
    is_damage = (code in _DAMAGED and _IN_PART in message) or is_file_gone(message)
    if reason is None and is_damage:
        reason = "damaged"
    if reason is None:
        return Broken(f"the store refuses the statement: {message}")
    return Transient(message, code=ErrorCode[f"STORE_{reason.upper()}"])
