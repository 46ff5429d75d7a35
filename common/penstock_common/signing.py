"""URLs that carry their own permission: who holds one may do what it was signed for, until it expires.

For clients that send no key with uploads and downloads. No process keeps state: every gateway with
the same secret takes what another has signed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from penstock.errors import Rejected

__all__ = ["Signer"]


class Signer:
    """Signs and checks. `secret` is the installation's; `clock` gives seconds since 1970."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(secret.encode(), b"penstock signed url v1", hashlib.sha256)
        self._clock = clock

    def sign(self, method: str, purpose: str, *, valid_s: int) -> dict[str, str]:
        """The query parameters that let a `method` request do `purpose`, any text, for that long."""
        expires = str(int(self._clock()) + valid_s)
        return {"expires": expires, "signature": self._signature(method, purpose, expires)}

    def check(self, method: str, purpose: str, query: Mapping[str, str]) -> None:
        """Raises `Rejected` (403) unless the parameters were signed for this and still hold."""
        expires, given = query.get("expires", ""), query.get("signature", "")
        wanted = self._signature(method, purpose, expires)
        if not hmac.compare_digest(given.encode(errors="replace"), wanted.encode()):
            raise Rejected(
                "this link's signature is wrong",
                code="bad_signature",
                status=403,
                hint="Ask for a new link; one works only as it was given out.",
            )
        if int(expires) <= self._clock():
            raise Rejected(
                "this link has expired", code="link_expired", status=403, hint="Ask for a new link."
            )

    def _signature(self, method: str, purpose: str, expires: str) -> str:
        # Neither a method nor a time holds a line break, so no two askings sign the same text.
        text = f"{method}\n{expires}\n{purpose}".encode(errors="surrogatepass")
        digest = hmac.digest(self._key, text, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")
