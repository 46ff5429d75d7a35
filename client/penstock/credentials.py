"""The login file: API keys by server, readable by their owner only."""

from __future__ import annotations

import json
import os
from pathlib import Path

from penstock.meta import replace_json

__all__ = ["credentials_path", "store_key", "stored_key"]


def credentials_path() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "penstock" / "credentials.json"


def stored_key(base_url: str) -> str | None:
    """The key kept for this server, if there is one."""
    entry = _load().get(base_url.rstrip("/"))
    key = entry.get("api_key") if isinstance(entry, dict) else None
    return key if isinstance(key, str) and key else None


def store_key(base_url: str, key: str) -> Path:
    """Keep a key; returns the file. Raises OSError."""
    path = credentials_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_json(path, {**_load(), base_url.rstrip("/"): {"api_key": key}})
    return path


def _load() -> dict[str, object]:
    try:
        stored = json.loads(credentials_path().read_text())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}
