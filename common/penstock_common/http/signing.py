"""Signed URLs, which carry their own permission: the holder may do what was signed, until it expires.

For clients that send no key with uploads and downloads. Stateless: every gateway with the same secret
accepts what another has signed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping

from penstock.error_codes import ErrorCode
from penstock.errors import Rejected
from penstock_common.http.auth import Authenticator

__all__ = ["Signer", "check_link"]


async def check_link(
    signer: Signer,
    authenticator: Authenticator,
    method: str,
    purpose: str,
    query: Mapping[str, str],
) -> None:
    """Raises `Rejected` (403) unless the parameters were signed for this and are still valid, and so is
    the key for which they were signed."""
    key = signer.check(method, purpose, query)
    if key and not await authenticator.is_good(key):
        raise Rejected(
            "the API key for which this link was created was revoked or has expired",
            code=ErrorCode.LINK_EXPIRED,
        )


class Signer:
    """Signs and checks. `secret` is the installation's; `clock` gives seconds since 1970."""

    def __init__(self, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(secret.encode(), b"penstock signed url v1", hashlib.sha256)
        self._clock = clock

    def sign(self, method: str, purpose: str, *, valid_s: int, key: str = "") -> dict[str, str]:
        """Query parameters that allow a `method` request for `purpose` (any text) for `valid_s` seconds, but
        no longer than the API key with the id `key` is valid."""
        expires = str(int(self._clock()) + valid_s)
        signature = self._signature(method, _bound(purpose, key), expires)
        return {"expires": expires, **({"key": key} if key else {}), "signature": signature}

    def check(self, method: str, purpose: str, query: Mapping[str, str]) -> str:
        """The id of the key that the parameters depend on; '' for none.

        Raises `Rejected` (403) unless they were signed for this and are still valid.
        """
        expires, given = query.get("expires", ""), query.get("signature", "")
        key = query.get("key", "")
        wanted = self._signature(method, _bound(purpose, key), expires)
        if not hmac.compare_digest(given.encode(errors="replace"), wanted.encode()):
            raise Rejected("this link's signature is wrong", code=ErrorCode.BAD_SIGNATURE)
        if int(expires) <= self._clock():
            raise Rejected("this link has expired", code=ErrorCode.LINK_EXPIRED)
        return key

    def _signature(self, method: str, purpose: str, expires: str) -> str:
        # Methods and times contain no line breaks, so no two requests sign the same text.
        text = f"{method}\n{expires}\n{purpose}".encode(errors="surrogatepass")
        digest = hmac.digest(self._key, text, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _bound(purpose: str, key: str) -> str:
    # Links from an older server depend on no key.
    return f"{purpose}\nkey {key}" if key else purpose
