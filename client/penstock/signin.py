"""`penstock login`: check an API key with its server and keep it for later runs."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Any

from penstock.credentials import store_key, stored_key
from penstock.errors import PenstockError, Rejected
from penstock.link import Link
from penstock.notices import NOTICES
from penstock.settings import Settings

__all__ = ["check_key", "login"]


def login(
    key: str | None = None, host: str | None = None, relogin: bool | None = None, **_: Any
) -> bool:
    """Check `key` with the server `host` and keep it; True if there is a key that works.

    Without `key`: the one from the environment or an earlier login, or, at a terminal, one that is
    asked for. Raises PenstockError if the server refuses it. The key is never printed.
    """
    settings = Settings.resolve(None, {"base_url": host, "api_key": key})
    base_url = settings.base_url
    candidate = settings.api_key or ("" if relogin else stored_key(base_url)) or _asked(base_url)
    if not candidate:
        NOTICES.warn("login", f"no API key for {base_url}; run: penstock login")
        return False
    entity = check_key(settings, candidate)
    if candidate != stored_key(base_url):
        store_key(base_url, candidate)
    NOTICES.say(f"logged in to {base_url} as {entity}")
    return True


def check_key(settings: Settings, key: str) -> str:
    """The entity that a key belongs to. Raises PenstockError if the server does not accept it."""
    link = Link(settings.base_url, settings.ca_file, settings.proxies)
    try:
        return str(link.call("GET", "/v1/viewer", key).get("entity", ""))
    except Rejected as error:
        if error.status == 401:
            raise PenstockError(f"{settings.base_url} does not know this API key") from None
        raise
    finally:
        link.close()


def _asked(base_url: str) -> str:
    if not (sys.stdin and sys.stdin.isatty() and os.isatty(2)):
        return ""
    return getpass.getpass(f"API key for {base_url}: ").strip()
