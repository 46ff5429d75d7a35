"""The API key for sending one spool."""

from __future__ import annotations

from penstock.credentials import stored_key
from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.pasted import repaired_key
from penstock.settings import Settings
from penstock.spool.meta import Meta

__all__ = ["SpoolKey"]


class SpoolKey:
    """The spool's own key. If it has none or the server refused it: the one in the environment of this
    shipper, if that is for the same server, and the saved one. So what a pod left behind is sent
    although its key has been replaced meanwhile.
    """

    def __init__(self, meta: Meta) -> None:
        self._server = meta.base_url
        self._own = _clean(meta.api_key)
        self._here: str | None = None
        self._refused: set[str] = set()
        self._last = self._own

    def now(self) -> str:
        """Raises Rejected (401) if there is none."""
        if self._own and not self._refused:  # nearly always
            return self._own
        known = [key for key in (self._own, self._environments, stored_key(self._server)) if key]
        if not known:
            raise Rejected("no API key", code=ErrorCode.NO_KEY, hint="")
        if self._refused.issuperset(known):  # one of them may be accepted again
            self._refused.clear()
        self._last = next(key for key in known if key not in self._refused)
        return self._last

    def refuse(self) -> None:
        """Record that the server refused the key that was used last."""
        self._refused.add(self._last)

    @property
    def _environments(self) -> str:
        """The environment's key for this server."""
        if self._here is None:
            settings = Settings.resolve(None, {})
            is_same = settings.base_url == self._server and not settings.problem
            self._here = settings.api_key if is_same else ""
        return self._here


def _clean(key: str) -> str:
    """Clean a key that an earlier version stored as given, for example with a trailing newline."""
    try:
        return repaired_key(key).value
    except ValueError:
        return ""
