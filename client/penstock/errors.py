"""Penstock's errors, by what the caller should do about them.

    PenstockError (in W&B's words: Error)
    ├── CommError
    │   ├── Transient            retry later with the same bytes
    │   ├── Rejected             do not retry: the request itself is wrong; `code` says why, `hint` what to do
    │   └── AuthenticationError  the server does not accept the API key
    ├── UsageError               a call that cannot work as it is
    │   ├── NotSupported         a name of W&B's that Penstock does not have
    │   └── ConfigError          with `strict`: a config entry would change
    └── Broken                   a bug or a damaged state: stop and report it

Scripts written for W&B catch these by W&B's names, which are here too. The gateway maps these to HTTP in one function, the client maps HTTP back in one function
(`from_reply` here); the two are inverse.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "RETRY_HINT",
    "AuthenticationError",
    "Broken",
    "Code",
    "CommError",
    "ConfigError",
    "Error",
    "NotSupported",
    "PenstockError",
    "Rejected",
    "Transient",
    "UnsupportedError",
    "UsageError",
    "http_code",
]

RETRY_HINT = "Nothing was stored; retry the request later."


class Code(str, Enum):
    """Base of the enums of codes. A code is its text, and compares equal to it.

    `status` and `hint` are those of the error, unless the place that raises it knows better.
    `subject` groups the codes.
    """

    subject: str
    status: int
    hint: str

    def __new__(cls, text: str, subject: str, status: int = 400, hint: str = "") -> Self:
        code = str.__new__(cls, text)
        code._value_ = text
        code.subject = subject
        code.status = status
        code.hint = hint
        return code

    __str__ = str.__str__


class PenstockError(Exception):
    """Base class of all errors that Penstock raises on purpose."""


class CommError(PenstockError):
    """A request to the server failed."""


class AuthenticationError(CommError):
    """The server does not accept the API key."""


class UsageError(PenstockError):
    """A call that cannot work as it is, such as `log` before `init`."""


class NotSupported(UsageError):
    """A name of W&B's that Penstock does not have, where a stand-in would return wrong data."""


class ConfigError(UsageError):
    """With the setting `strict`: a config entry would change without `allow_val_change`."""


class Transient(CommError):
    """The other side cannot serve this now; the same bytes may succeed later.

    `retry_after_s` is how long the server asks to wait, if it does. Status and hint are the code's
    unless given; a code that this version does not know has 503 and `RETRY_HINT`.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code | str,
        status: int | None = None,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        default = (code.status, code.hint) if isinstance(code, Code) else (503, RETRY_HINT)
        self.code: str = code
        self.status = default[0] if status is None else status
        self.retry_after_s = retry_after_s
        self.hint = default[1] if hint is None else hint


class Rejected(CommError):
    """The request will never be accepted as it is.

    `code` is for programs, the message and `hint` for people, `status` is the HTTP status. Status and
    hint are the code's unless given; a code that this version does not know has 400 and no hint.
    `supported` lists the other side's wire versions, if that is the problem.
    """

    def __init__(
        self,
        message: str,
        *,
        code: Code | str,
        status: int | None = None,
        hint: str | None = None,
        supported: Sequence[int] = (),
    ) -> None:
        super().__init__(message)
        default = (code.status, code.hint) if isinstance(code, Code) else (400, "")
        self.code: str = code
        self.status = default[0] if status is None else status
        self.hint = default[1] if hint is None else hint
        self.supported = tuple(supported)


class Broken(PenstockError):
    """An invariant does not hold: a bug, or damaged data."""


Error = PenstockError
UnsupportedError = NotSupported


def from_reply(
    status: int, payload: object, retry_after: str | None = None
) -> Transient | Rejected:
    """The error for an HTTP reply with a status of 400 or more.

    `payload` is the decoded JSON body, if there was one. 408, 429 and 5xx (except 501) are
    transient; every other status is final. 401 is final for the request, but a client keeps its
    data: a key can be replaced.
    """
    error = payload.get("error") if isinstance(payload, dict) else None
    fields = error if isinstance(error, dict) else {}
    message = str(fields.get("message") or f"the server answered {status}")
    code = str(fields.get("code") or http_code(status))
    hint = str(fields.get("hint") or "")
    if status in (408, 425, 429) or (status >= 500 and status != 501):
        return Transient(
            message,
            code=code,
            status=status,
            retry_after_s=_seconds(retry_after),
            hint=hint,
        )
    return Rejected(
        message, code=code, status=status, hint=hint, supported=_versions(fields.get("supported"))
    )


def http_code(status: int) -> str:
    """The code of a status that has none of its own, such as a proxy's 502."""
    return f"http_{status}"


def _versions(found: object) -> tuple[int, ...]:
    return tuple(each for each in found if isinstance(each, int)) if isinstance(found, list) else ()


def _seconds(text: str | None) -> float | None:
    """The wait in a Retry-After header, which is a number of seconds or a date."""
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415  (slow to import, rarely used)

    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
