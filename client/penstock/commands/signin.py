"""`penstock login`: checks an API key with its server and saves it for later runs."""

from __future__ import annotations

import getpass
import os
import sys

from penstock.bounded import within
from penstock.credentials import store_key, stored_key
from penstock.error_codes import ErrorCode
from penstock.errors import AuthenticationError, Rejected, Transient
from penstock.link import Link
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["check_key", "login"]

_TIMEOUT_S = 10.0


def login(
    key: str | None = None,
    relogin: bool | None = None,
    host: str | None = None,
    *,
    prompt: bool = True,
    must_answer: bool = False,
) -> bool:
    """Check `key` with the server `host` and save it; True if there is a working key.

    The server becomes the default for this user's commands and runs. Without `key`, the key comes from
    the environment, an earlier login, or, unless `prompt` is False, a prompt at a terminal. If the server does not answer, the key
    is saved unchecked, unless `must_answer`. Raises PenstockError if the server refuses the key, and
    ValueError if `host` is not an address. Never prints the key.
    """
    settings = Settings.resolve(None, {"base_url": host, "api_key": key})
    if settings.problem:
        raise ValueError(settings.problem)
    base_url = settings.base_url
    candidate = settings.api_key or ("" if relogin else stored_key(base_url))
    if not candidate and prompt:
        candidate = _asked(base_url)
    if not candidate:
        NOTICES.warn("login", f"no API key for {base_url}; run: penstock login")
        return False
    entity = ""
    try:
        entity = _checked(settings, candidate)
    except Transient as error:
        if must_answer:
            raise
        NOTICES.warn("login", f"the API key could not be checked: {error}")
    _keep(settings, candidate, entity, is_chosen=host is not None)
    if entity:
        NOTICES.say(f"logged in to {base_url} as {entity}{_overruled(base_url)}")
    return True


def _checked(settings: Settings, key: str) -> str:
    """Like `check_key`, in bounded time: socket timeouts do not limit name resolution, a trickle of
    bytes, or certificates on a dead file server."""
    try:
        where = f"{settings.base_url} as a place to log in to"
        return within(where, lambda: check_key(settings, key), seconds=2 * _TIMEOUT_S)
    except TimeoutError:
        raise Transient(
            f"no answer from {settings.base_url} in {2 * _TIMEOUT_S:.0f} s",
            code=ErrorCode.UNAVAILABLE,
        ) from None


def check_key(settings: Settings, key: str) -> str:
    """A key's entity. Raises PenstockError if the server does not accept the key."""
    link = Link(settings.base_url, settings.ca_file, settings.proxies, timeout_s=_TIMEOUT_S)
    try:
        return str(link.call("GET", "/v1/viewer", key).get("entity", ""))
    except Rejected as error:
        if error.status == 401:
            raise AuthenticationError(f"{settings.base_url} does not know this API key") from None
        raise
    finally:
        link.close()


def _keep(settings: Settings, key: str, entity: str, *, is_chosen: bool) -> None:
    is_given = is_chosen or "base_url" in settings.given
    try:
        store_key(settings.base_url, key, entity or None, is_chosen=is_given)
    except (OSError, RuntimeError) as error:
        NOTICES.warn("login file", f"the login cannot be saved: {error}; set PENSTOCK_API_KEY")


def _overruled(base_url: str) -> str:
    """A warning if the environment still sends runs elsewhere."""
    for variable in ("PENSTOCK_BASE_URL", "WANDB_BASE_URL"):
        if os.environ.get(variable, "").strip():
            if Settings.resolve(None, {}).base_url != base_url:
                return f"; but {variable} is set, so runs go there"
            break
    return ""


def _asked(base_url: str) -> str:
    if not (sys.stdin and sys.stdin.isatty() and os.isatty(2)):
        return ""
    return getpass.getpass(f"API key for {base_url}: ").strip()
