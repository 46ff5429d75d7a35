"""One file stream request: its lines by file, and the run's state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_compat.wandb.values import loads

__all__ = ["Lines", "Post", "parse_post"]

_HISTORY = "wandb-history.jsonl"
_EVENTS = "wandb-events.jsonl"
_SUMMARY = "wandb-summary.json"
_MAX_LINES = 2**52
_MAX_EXIT_CODE = 2**31


@dataclass(slots=True)
class Lines:
    """Lines of one file, starting at the index `offset`."""

    offset: int = 0
    content: list[str] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.offset + len(self.content)


@dataclass(slots=True)
class Post:
    """A request. `exit_code` is None unless the run is complete; with `is_shared`, other processes
    also log to the run."""

    history: Lines = field(default_factory=Lines)
    events: Lines = field(default_factory=Lines)
    summary: str | None = None
    console: list[Lines] = field(default_factory=list)
    exit_code: int | None = None
    is_preempting: bool = False
    is_shared: bool = False

    @property
    def is_heartbeat(self) -> bool:
        """Whether there is nothing to store."""
        return (
            not (self.history.content or self.events.content or self.console or self.is_preempting)
            and self.summary is None
            and self.exit_code is None
        )


def parse_post(body: bytes) -> Post:
    """The request in this JSON. Raises `Rejected`."""
    try:
        fields = loads(body) if body else {}
    except (ValueError, RecursionError) as error:
        raise Rejected(f"the body is not valid JSON: {error}", code=ErrorCode.BAD_JSON) from None
    files = fields.get("files") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or not isinstance(files, dict | None):
        raise Rejected('the body must be {"files": {…}, …}', code=ErrorCode.BAD_JSON)
    post = Post(is_preempting=fields.get("preempting") is True)
    if fields.get("complete") is True:
        code = fields.get("exitcode")
        # No exit code means success.
        post.exit_code = (
            code if isinstance(code, int) and abs(code) < _MAX_EXIT_CODE else int(bool(code))
        )
    for name, entry in (files or {}).items():
        lines = _lines(name, entry)
        if name == _HISTORY:
            post.history = lines
        elif name == _EVENTS:
            post.events = lines
        elif name == _SUMMARY:
            post.summary = lines.content[-1] if lines.content else None
        elif name.endswith(".log"):
            post.console.append(lines)
    return post


def _lines(name: str, entry: Any) -> Lines:
    if isinstance(entry, dict):
        offset, content = entry.get("offset", 0), entry.get("content") or []
        if isinstance(offset, int) and 0 <= offset < _MAX_LINES and isinstance(content, list):
            return Lines(offset, [line if isinstance(line, str) else "" for line in content])
    raise Rejected(f"files[{name!r}] must be {{offset, content: [lines]}}", code=ErrorCode.BAD_JSON)
