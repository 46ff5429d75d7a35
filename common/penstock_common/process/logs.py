"""Structured logs: one line per event, its name first, then key=value. Never values, keys or bodies
that a user sent.

Secrets that get into a line nevertheless, for example by an exception's text, are removed here.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection
from types import TracebackType

__all__ = ["redacted", "setup"]

_HIDDEN = "[hidden]"
_MIN_SECRET_CHARS = 8
_PATTERNS = [
    (re.compile(pattern, re.IGNORECASE | re.ASCII), put)
    for pattern, put in (
        (r"(penstock_[a-z]+_\w{10})_\w{20,}", rf"\1_{_HIDDEN}"),
        (r"\b(penstock_session=)[^;\s\"']+", rf"\1{_HIDDEN}"),
        (r"\b(signature=)[\w%-]+", rf"\1{_HIDDEN}"),
        (r"\b(authorization\W{1,5}\w+\s+)[\w+/=.~-]+", rf"\1{_HIDDEN}"),
        (r"\b(bearer\s+)[\w+/=.~-]{20,}", rf"\1{_HIDDEN}"),
        (r"(://[^\s/:@'\"]*):[^\s@'\"]+@", rf"\1:{_HIDDEN}@"),
        (r"\b((?:password|passwd|pwd|secret|api_key)\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'\\,;&}]+",
         rf"\1{_HIDDEN}"),
    )
]  # fmt: skip


def redacted(text: str, secrets: Collection[str] = ()) -> str:
    """The text without API keys, cookies, signatures, passwords in URLs, and these secrets."""
    for secret in secrets:
        if len(secret) >= _MIN_SECRET_CHARS:
            text = text.replace(secret, _HIDDEN)
    for pattern, put in _PATTERNS:
        text = pattern.sub(put, text)
    return text


class _Formatter(logging.Formatter):
    """Lines, tracebacks included, without secrets."""

    def __init__(self, role: str, secrets: Collection[str]) -> None:
        super().__init__(
            f"%(asctime)s.%(msecs)03d %(levelname)s {role} %(name)s: %(message)s",
            datefmt="%Y-%m-%dT%H:%M:%S",
        )
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        return redacted(super().format(record), self._secrets)


def setup(role: str, level: str = "INFO", *, secrets: Collection[str] = ()) -> None:
    """Send this process's logs, and a fatal exception, to standard error, without these secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(role, secrets))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for talkative in ("aiohttp.access", "alembic"):
        logging.getLogger(talkative).setLevel(logging.WARNING)
    sys.excepthook = _log_end


def _log_end(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    logging.getLogger(__name__).critical("process_failed", exc_info=(kind, error, traceback))
