"""The login file: API keys by server, and the default server; readable by its owner only."""

from __future__ import annotations

import json
import os
from pathlib import Path
from stat import S_ISREG

from penstock.bounded import within
from penstock.notices import NOTICES
from penstock.pasted import repaired_key, repaired_url
from penstock.spool.meta import replace_json

__all__ = [
    "DEFAULT_BASE_URL",
    "credentials_path",
    "default_url",
    "store_key",
    "stored_entity",
    "stored_key",
]

DEFAULT_BASE_URL = "http://127.0.0.1:8080"
_DEFAULT = "base_url"
_CHOSEN = "chosen_by_hand"
_MAX_FILE_BYTES = 1 << 20


def credentials_path() -> Path:
    """Raises RuntimeError if this user has no home folder."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "penstock" / "credentials.json"


def stored_key(base_url: str) -> str | None:
    """The key saved for this server, if any."""
    try:
        return repaired_key(_text(_entry(base_url), "api_key")).value or None
    except ValueError:
        return None


def stored_entity(base_url: str, key: str) -> str | None:
    """The entity of this key on that server, if it was used to log in."""
    entry = _entry(base_url)
    return _text(entry, "entity") or None if key and key == entry.get("api_key") else None


def default_url() -> str:
    """The default server: the one logged in to last."""
    try:
        found = _text(_load(), _DEFAULT)
        return repaired_url(found).value if found else DEFAULT_BASE_URL
    except ValueError:
        return DEFAULT_BASE_URL


def store_key(
    base_url: str, key: str, entity: str | None = None, *, is_chosen: bool = False
) -> Path:
    """Save a key and make its server the default; returns the file. Raises OSError, or RuntimeError
    if this user has no home folder.

    `is_chosen`: a person chose this server. A server that logs in its own user becomes the default
    only if no other server was chosen.
    """
    path = credentials_path()
    url = base_url.rstrip("/")

    def store() -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stored = _read(path)
        stored[url] = {"api_key": key, **({"entity": entity} if entity else {})}
        if is_chosen or not stored.get(_CHOSEN):
            stored |= {_DEFAULT: url, _CHOSEN: is_chosen}
        replace_json(path, stored)

    within(str(path), store)
    return path


def _entry(base_url: str) -> dict[str, object]:
    entry = _load().get(base_url.rstrip("/"))
    return entry if isinstance(entry, dict) else {}


def _text(entry: dict[str, object], name: str) -> str:
    found = entry.get(name)
    return found if isinstance(found, str) else ""


def _load() -> dict[str, object]:
    """The login file's content; empty if it cannot be read or its file server does not respond."""
    try:
        path = credentials_path()
        return within(str(path), lambda: _read(path))
    except TimeoutError as error:
        NOTICES.warn("login file", f"{error} and is ignored; set PENSTOCK_API_KEY")
    except RuntimeError:
        pass
    return {}


def _read(path: Path) -> dict[str, object]:
    try:
        found = path.stat()
        if not S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
            return {}  # reading a pipe could block forever
        stored = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return stored if isinstance(stored, dict) else {}
