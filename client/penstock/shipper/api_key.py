"""The API key for sending one spool."""

from __future__ import annotations

from penstock.credentials import stored_key
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.pasted import repaired_key
from penstock.spool.meta import Meta

__all__ = ["SpoolKey"]


class SpoolKey:
    """The spool's own key, or the saved one if it has none or the server refused it."""

    def __init__(self, meta: Meta) -> None:
        self._server = meta.base_url
        self._own = _clean(meta.api_key)
        self._is_refused = False

    def now(self) -> str:
        """Raises Rejected (401) if there is none."""
        key = self._own
        if not key or self._is_refused:
            key = stored_key(self._server) or key
        if not key:
            raise Rejected("no API key", code=ErrorCode.NO_KEY, hint="")
        return key

    def refuse(self) -> None:
        """Record that the server refused the spool's own key."""
        self._is_refused = True


def _clean(key: str) -> str:
    """Clean a key that an earlier version stored as given, for example with a trailing newline."""
    try:
        return repaired_key(key).value
    except ValueError:
        return ""
