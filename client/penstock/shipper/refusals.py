"""What a permanent refusal means for the refused batch.

Only Penstock's own refusals, with a code, condemn data. A proxy's page, a wrong address or a version
that the server does not support yet can be fixed; the data waits.
"""

from __future__ import annotations

from enum import Enum, auto

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock.shipper.cuts import Cut
from penstock.wire import VERSION

__all__ = ["Refusal", "problem_of", "refusal_of", "version_problem"]

_NOTHING_IS_TAKEN = {
    (410, ErrorCode.DELETED),
    (422, ErrorCode.TOO_MANY_RUNS),
    (422, ErrorCode.TOO_MANY_WRITERS),
}
_FINAL_STATUSES = frozenset({400, 403, 404, 413, 415, 422})


class Refusal(Enum):
    """What to do with a refused batch."""

    KEY = auto()
    """The batch is fine, but another key is needed."""
    TOO_LARGE = auto()
    """Send smaller batches."""
    CONFLICT = auto()
    """The server has other bytes under its number: set it aside, the number is taken."""
    TAKEN = auto()
    """The server has its rows, or it has no rows: the number is taken, nothing is lost."""
    GONE = auto()
    """The run was deleted, or the server has no room for it or for another of its writers: set aside
    what is left, and stop sending."""
    FINAL = auto()
    """Set it aside and void its number."""
    WAIT = auto()
    """Keep it and retry later."""


def refusal_of(error: Rejected, cut: Cut | None) -> Refusal:
    if error.status == 401:
        return Refusal.KEY
    if (error.status, error.code) in _NOTHING_IS_TAKEN:
        return Refusal.GONE
    if cut is None or error.code == ErrorCode.UNKNOWN_VERSION:
        return Refusal.WAIT
    if error.status == 409:
        return Refusal.TAKEN if cut.rebuilt or cut.kind != "rows" else Refusal.CONFLICT
    if error.status == 413 and _can_shrink(cut):
        return Refusal.TOO_LARGE
    if cut.kind == "void" or error.code.startswith("http_"):
        return Refusal.WAIT
    return Refusal.FINAL if error.status in _FINAL_STATUSES else Refusal.WAIT


def problem_of(error: Rejected) -> tuple[str, str]:
    """The problem's code and its text for the user."""
    if error.code == ErrorCode.UNKNOWN_VERSION:
        return error.code, version_problem(error)
    if error.status == 401 and error.code != ErrorCode.NO_KEY:
        return "unauthorized", f"the server rejects this API key: {error}"
    return error.code, str(error)


def version_problem(error: Rejected) -> str:
    """Which side must be upgraded if they have no wire version in common."""
    spoken = error.supported
    if not spoken:
        return f"the server does not support wire version {VERSION}: upgrade the older side"
    older, what = ("server", max(spoken)) if max(spoken) < VERSION else ("client", min(spoken))
    return (
        f"this client uses wire version {VERSION}, the server supports {what}: upgrade the {older}"
    )


def _can_shrink(cut: Cut) -> bool:
    return cut.kind == "rows" and cut.start < cut.end
